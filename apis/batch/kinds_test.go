package batch

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestJob(t *testing.T)     { kindtest.Run(t, Job(), "testdata/job") }
func TestCronJob(t *testing.T) { kindtest.Run(t, CronJob(), "testdata/cronjob") }

// Package batch holds the kinds of group batch: pods that run to completion.
package batch

import "proa/apis/kind"

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	return []kind.Any{
		Job(),
		CronJob(),
	}
}

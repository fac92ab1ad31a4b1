// Package batch holds the controllers of the batch API group: Job, CronJob, the
// cleaner of finished jobs, and the one that frees pods of jobs that are gone.
//
// A job counts each of its pods exactly once: pods carry a finalizer, finished
// ones go to status.uncountedTerminatedPods, then the finalizer is taken off,
// then they move to the counters (KEP-2307).
package batch

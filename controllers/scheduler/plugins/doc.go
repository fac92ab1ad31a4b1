// Package plugins holds the scheduler's filters and scores, one per file, each
// with upstream's name, verdicts, messages and arithmetic. all.go lists them in
// the order in which they are asked.
package plugins

package batch

import (
	"sort"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// noIndex is the completion index of a pod without one.
const noIndex = -1

// interval is a run of indexes, both ends included.
type interval struct{ first, last int }

// intervals is a set of indexes as ordered runs, written "1,3-5,7".
type intervals []interval

// parseIntervals reads the text, dropping what is not below completions and
// what cannot be read.
func parseIntervals(text string, completions int) intervals {
	var out intervals
	if text == "" {
		return nil
	}
	for _, part := range strings.Split(text, ",") {
		a, b, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(a)
		if err != nil {
			continue
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(b); err != nil {
				continue
			}
		}
		if first >= completions {
			break
		}
		last = min(last, completions-1)
		if n := len(out); n > 0 && out[n-1].last == first-1 {
			out[n-1].last = last
		} else {
			out = append(out, interval{first, last})
		}
	}
	return out
}

func (s intervals) String() string {
	var parts []string
	for _, r := range s {
		switch {
		case r.last == r.first:
			parts = append(parts, strconv.Itoa(r.first))
		case r.last == r.first+1:
			parts = append(parts, strconv.Itoa(r.first), strconv.Itoa(r.last))
		default:
			parts = append(parts, strconv.Itoa(r.first)+"-"+strconv.Itoa(r.last))
		}
	}
	return strings.Join(parts, ",")
}

// total is the number of indexes.
func (s intervals) total() int {
	n := 0
	for _, r := range s {
		n += r.last - r.first + 1
	}
	return n
}

func (s intervals) has(index int) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].last >= index })
	return i < len(s) && s[i].first <= index
}

// union of two sets.
func (s intervals) union(o intervals) intervals {
	all := append(append(intervals(nil), s...), o...)
	sort.Slice(all, func(i, j int) bool { return all[i].first < all[j].first })
	var out intervals
	for _, r := range all {
		if n := len(out); n > 0 && r.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, r.last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// with adds single indexes.
func (s intervals) with(indexes []int) intervals {
	var o intervals
	for _, i := range indexes {
		o = append(o, interval{i, i})
	}
	return s.union(o)
}

// overlap is the number of indexes in both sets.
func (s intervals) overlap(o intervals) int {
	n, i, j := 0, 0, 0
	for i < len(s) && j < len(o) {
		if k := min(s[i].last, o[j].last) - max(s[i].first, o[j].first) + 1; k > 0 {
			n += k
		}
		if s[i].last < o[j].last {
			i++
		} else {
			j++
		}
	}
	return n
}

// firstMissing returns the lowest count indexes below completions that are not in the set.
func (s intervals) firstMissing(count, completions int) []int {
	var out []int
	next := 0
	for _, r := range s {
		for ; next < r.first && next < completions && len(out) < count; next++ {
			out = append(out, next)
		}
		next = max(next, r.last+1)
	}
	for ; next < completions && len(out) < count; next++ {
		out = append(out, next)
	}
	return out
}

func indexed(job *batchv1.Job) bool {
	return job.Spec.CompletionMode != nil && *job.Spec.CompletionMode == batchv1.IndexedCompletion
}

// completionIndex is the pod's index, or noIndex.
func completionIndex(p *corev1.Pod) int {
	i, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil || i < 0 {
		return noIndex
	}
	return i
}

// validIndex reports whether the pod has an index that the job has.
func validIndex(job *batchv1.Job, p *corev1.Pod) bool {
	i := completionIndex(p)
	return i != noIndex && i < completions(job)
}

func completions(job *batchv1.Job) int {
	if job.Spec.Completions == nil {
		return 0
	}
	return int(*job.Spec.Completions)
}

// indexesOf are the indexes the pods have, in order.
func indexesOf(pods []*corev1.Pod) []int {
	seen := map[int]bool{}
	var out []int
	for _, p := range pods {
		if i := completionIndex(p); i != noIndex && !seen[i] {
			seen[i] = true
			out = append(out, i)
		}
	}
	sort.Ints(out)
	return out
}

package control

import "sync"

// SlowStartInitialBatchSize is the size of the first batch.
const SlowStartInitialBatchSize = 1

// SlowStart calls fn count times in batches that double, beginning with
// initial, each batch in parallel. After a batch with a failure no further
// batch starts, so that a cause common to all (a quota, an admission error) is
// met once and not count times. It returns how many calls succeeded and the
// first error of the failing batch. fn gets the index of its call.
func SlowStart(count, initial int, fn func(i int) error) (int, error) {
	done := 0
	successes := 0
	for size := min(count, initial); size > 0; size = min(2*size, count-done) {
		errs := make([]error, size)
		var wg sync.WaitGroup
		for i := range size {
			wg.Go(func() { errs[i] = fn(done + i) })
		}
		wg.Wait()
		done += size
		var first error
		for _, err := range errs {
			if err == nil {
				successes++
			} else if first == nil {
				first = err
			}
		}
		if first != nil {
			return successes, first
		}
	}
	return successes, nil
}

// Parallel calls fn for 0..count-1 at once and returns the first error by index.
func Parallel(count int, fn func(i int) error) error {
	errs := make([]error, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

package placement

import "math/rand/v2"

// buckets keeps node indexes sorted by score, which is a small number: one
// bucket per score. Insert, remove and a uniformly random choice among the
// best take constant time.
type buckets struct {
	byScore [][]int32
	score   []int32 // by node index; -1: not in
	at      []int32 // by node index: position in its bucket
	best    int     // no bucket above it has members
	members int
}

func newBuckets(maxScore int64) *buckets {
	return &buckets{byScore: make([][]int32, maxScore+1)}
}

// grow makes room for node indexes below n.
func (b *buckets) grow(n int) {
	for len(b.score) < n {
		b.score = append(b.score, -1)
		b.at = append(b.at, 0)
	}
}

func (b *buckets) insert(i int, score int64) {
	s := int(min(max(score, 0), int64(len(b.byScore)-1)))
	b.score[i], b.at[i] = int32(s), int32(len(b.byScore[s]))
	b.byScore[s] = append(b.byScore[s], int32(i))
	b.best = max(b.best, s)
	b.members++
}

func (b *buckets) has(i int) bool { return b.score[i] >= 0 }

func (b *buckets) remove(i int) {
	s := b.score[i]
	if s < 0 {
		return
	}
	list := b.byScore[s]
	last := list[len(list)-1]
	list[b.at[i]], b.at[last] = last, b.at[i]
	b.byScore[s] = list[:len(list)-1]
	b.score[i] = -1
	b.members--
}

// pick returns one of the best-scored indexes, each with the same chance; ok is
// false when there is none.
func (b *buckets) pick(random *rand.Rand) (i int, ok bool) {
	for ; b.best > 0 && len(b.byScore[b.best]) == 0; b.best-- {
	}
	list := b.byScore[b.best]
	switch len(list) {
	case 0:
		return 0, false
	case 1:
		return int(list[0]), true
	}
	return int(list[random.IntN(len(list))]), true
}

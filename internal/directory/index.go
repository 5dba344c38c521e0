package directory

import (
	"hash/maphash"
	"iter"
	"slices"
)

// fan is how many ways each of three levels leads. At 60,000 keys a leaf holds about 15.
const fan = 16

// index is an immutable map. A change copies one table of each level and one leaf, a good kilobyte at tens of thousands
// of keys, and every older index goes on as it was.
type index[K comparable, V any] struct {
	seed maphash.Seed
	root *[fan]*[fan]*[fan]leaf[K, V]
	size int
}

type leaf[K comparable, V any] []slot[K, V]

type slot[K comparable, V any] struct {
	key   K
	value V
}

func newIndex[K comparable, V any]() index[K, V] {
	return index[K, V]{seed: maphash.MakeSeed(), root: &[fan]*[fan]*[fan]leaf[K, V]{}}
}

// place is where a key belongs on each level.
func (x index[K, V]) place(k K) (a, b, c uint64) {
	h := maphash.Comparable(x.seed, k)
	return h % fan, h / fan % fan, h / fan / fan % fan
}

func (x index[K, V]) get(k K) (V, bool) {
	a, b, c := x.place(k)
	if x.root[a] != nil && x.root[a][b] != nil {
		of := x.root[a][b][c]
		if at := of.find(k); at >= 0 {
			return of[at].value, true
		}
	}
	var none V
	return none, false
}

func (l leaf[K, V]) find(k K) int {
	for i := range l {
		if l[i].key == k {
			return i
		}
	}
	return -1
}

func (x index[K, V]) with(k K, v V) index[K, V] {
	a, b, c := x.place(k)
	root := copied(x.root)
	root[a] = copied(root[a])
	root[a][b] = copied(root[a][b])
	old := root[a][b][c]
	if at := old.find(k); at >= 0 {
		changed := slices.Clone(old)
		changed[at].value = v
		root[a][b][c] = changed
		return index[K, V]{seed: x.seed, root: root, size: x.size}
	}
	longer := make(leaf[K, V], len(old), len(old)+1)
	copy(longer, old)
	root[a][b][c] = append(longer, slot[K, V]{k, v})
	return index[K, V]{seed: x.seed, root: root, size: x.size + 1}
}

// copied is a table like another, or an empty one.
func copied[T any](table *[fan]T) *[fan]T {
	var other [fan]T
	if table != nil {
		other = *table
	}
	return &other
}

// all visits every entry, in no order.
func (x index[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, a := range x.root {
			for _, b := range orEmpty(a) {
				for _, l := range orEmpty(b) {
					for _, s := range l {
						if !yield(s.key, s.value) {
							return
						}
					}
				}
			}
		}
	}
}

// orEmpty is the table, to be ranged over where there is none.
func orEmpty[T any](table *[fan]T) []T {
	if table == nil {
		return nil
	}
	return table[:]
}

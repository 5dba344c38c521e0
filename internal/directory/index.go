package directory

import (
	"hash/maphash"
	"iter"
	"slices"
)

// fan is a power of two. With two levels of it, at 60,000 keys a leaf holds about 15.
const fan = 64

// index is an immutable map. A change copies its root (0.5 KiB), one branch (1.5 KiB) and one leaf, so it stays cheap at
// tens of thousands of keys, and every older index goes on as it was.
type index[K comparable, V any] struct {
	seed maphash.Seed
	root *[fan]*branch[K, V]
	size int
}

type branch[K comparable, V any] [fan][]slot[K, V]

type slot[K comparable, V any] struct {
	key   K
	value V
}

func newIndex[K comparable, V any]() index[K, V] {
	return index[K, V]{seed: maphash.MakeSeed(), root: &[fan]*branch[K, V]{}}
}

// place is where a key belongs: in which branch, and in which leaf of it.
func (x index[K, V]) place(k K) (int, int) {
	h := maphash.Comparable(x.seed, k)
	return int(h % fan), int(h / fan % fan)
}

func (x index[K, V]) get(k K) (V, bool) {
	i, j := x.place(k)
	if b := x.root[i]; b != nil {
		leaf := &b[j]
		for n := range *leaf {
			if (*leaf)[n].key == k {
				return (*leaf)[n].value, true
			}
		}
	}
	var none V
	return none, false
}

func (x index[K, V]) with(k K, v V) index[K, V] {
	i, j := x.place(k)
	root, grown := *x.root, branch[K, V]{}
	if root[i] != nil {
		grown = *root[i]
	}
	leaf := make([]slot[K, V], len(grown[j]), len(grown[j])+1)
	copy(leaf, grown[j])
	size := x.size
	if at := slices.IndexFunc(leaf, func(p slot[K, V]) bool { return p.key == k }); at >= 0 {
		leaf[at].value = v
	} else {
		leaf = append(leaf, slot[K, V]{k, v})
		size++
	}
	grown[j] = leaf
	root[i] = &grown
	return index[K, V]{seed: x.seed, root: &root, size: size}
}

// all visits every entry, in no order.
func (x index[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, b := range x.root {
			if b == nil {
				continue
			}
			for _, leaf := range b {
				for _, p := range leaf {
					if !yield(p.key, p.value) {
						return
					}
				}
			}
		}
	}
}

package directory

import (
	"hash/maphash"
	"iter"
	"maps"
)

// shards is a power of two: at 60,000 keys a shard holds about 60.
const shards = 1024

// index is an immutable map. A change copies the table of shards (8 KiB) and one shard, so it stays cheap at tens of
// thousands of keys, and every older index goes on as it was.
type index[K comparable, V any] struct {
	seed  maphash.Seed
	table []map[K]V
	size  int
}

func newIndex[K comparable, V any]() index[K, V] {
	return index[K, V]{seed: maphash.MakeSeed(), table: make([]map[K]V, shards)}
}

func (x index[K, V]) shard(k K) int { return int(maphash.Comparable(x.seed, k) % shards) }

func (x index[K, V]) get(k K) (V, bool) {
	v, ok := x.table[x.shard(k)][k]
	return v, ok
}

func (x index[K, V]) with(k K, v V) index[K, V] {
	i := x.shard(k)
	shard := make(map[K]V, len(x.table[i])+1)
	maps.Copy(shard, x.table[i])
	shard[k] = v
	size := x.size
	if len(shard) > len(x.table[i]) {
		size++
	}
	table := append([]map[K]V(nil), x.table...)
	table[i] = shard
	return index[K, V]{seed: x.seed, table: table, size: size}
}

// all visits every entry, in no order.
func (x index[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, shard := range x.table {
			for k, v := range shard {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

package plan

import (
	"bytes"
	"hash/maphash"
	"sync"

	"sampleonnx/onnxrun/internal/ops"
)

// table keeps what the head of a plan made of early inputs, in a bounded number of
// slots; inputs whose hashes fall on one slot take it from each other. A schedule of
// fewer levels than there are slots is so computed once, for all steps and batches.
type table struct {
	mu    sync.RWMutex
	seed  maphash.Seed
	key   int // bytes of a slot's key; the values follow
	slot  int // bytes of a slot
	slots int
	full  []bool
	mem   []byte
}

// The bounds of a table. A schedule has up to a thousand levels; what a U-Net makes
// of one is about 10 kB.
const (
	tableBytes = 4 << 20
	tableSlots = 1024
)

func newTable(head *Plan) *table {
	t := &table{seed: maphash.MakeSeed()}
	for _, in := range head.Inputs {
		t.key += in.Bytes()
	}
	t.slot = t.key
	for _, out := range head.Outputs {
		t.slot += out.Bytes()
	}
	t.slots = min(tableSlots, max(1, tableBytes/max(1, t.slot)))
	t.full = make([]bool, t.slots)
	t.mem = make([]byte, t.slots*t.slot)
	return t
}

// at is the slot of a key.
func (t *table) at(key []byte) (int, []byte) {
	i := int(maphash.Bytes(t.seed, key) % uint64(t.slots))
	return i, t.mem[i*t.slot:][:t.slot]
}

// read gives the values that belong to a key, and whether they are there.
func (t *table) read(key []byte, values []*ops.Tensor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i, s := t.at(key)
	if !t.full[i] || !bytes.Equal(s[:t.key], key) {
		return false
	}
	s = s[t.key:]
	for _, v := range values {
		s = s[copy(v.Mem(), s):]
	}
	return true
}

// write puts them there.
func (t *table) write(key []byte, values []*ops.Tensor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, s := t.at(key)
	t.full[i] = true
	s = s[copy(s, key):]
	for _, v := range values {
		s = s[copy(s, v.Mem()):]
	}
}

package ops

// spare zeroes the spare lanes of a Blocked tensor: what an operator with
// f(0) ≠ 0 left in them. It does so piece by piece, so that each part of a task
// cleans up after itself.
type spare struct {
	dst   []float32
	image int // floats of one image, in whole blocks
	block int // floats of one block of channels
	used  int // lanes in use in the last block of an image; 0: none to spare
}

// spareOf is the spare of t; one that does nothing when t has no spare lanes.
func spareOf(t *Tensor) spare {
	if t.Layout != Blocked || t.Shape[1]%Block == 0 || t.Len() == 0 {
		return spare{}
	}
	p := t.Physical()
	block := elems(p[2:])
	return spare{Data[float32](t), p[1] * block, block, t.Shape[1] % Block}
}

// zero cleans the elements [lo, hi) of the tensor; both are multiples of Block.
func (s *spare) zero(lo, hi int) {
	if s.used == 0 {
		return
	}
	for lo < hi {
		last := lo - lo%s.image + s.image - s.block // where the last block of this image begins
		end := min(hi, last+s.block)
		for i := max(lo, last); i < end; i += Block {
			clear(s.dst[i+s.used : i+Block])
		}
		lo = last + s.block
	}
}

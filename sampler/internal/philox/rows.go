package philox

const (
	width = 8         // blocks that the assembly makes at once
	group = 4 * width // normals of as many
	chunk = 64        // words that the generic code makes before it transforms them
)

// lanes are the counters of eight blocks, word by word.
type lanes [4][width]uint64

// Normals makes rows of normals, each from a counter of its own. What a row
// leaves over is less than eight blocks; such pieces of several rows are made
// together. Its zero value needs Keys.
type Normals struct {
	Keys    Keys
	ctr     lanes            // of the pieces
	pieces  [width][]float32 // where they go: 1 to 4 values
	waiting int
	most    int // values in the longest of them
}

// Row fills dst with the normals of the counters c, c+1 (in its first word), …,
// four of each. The end of dst may be filled only by Flush.
func (n *Normals) Row(dst []float32, c [4]uint32) {
	if vectors == 0 {
		n.Keys.normals(dst, c)
		return
	}
	if whole := len(dst) / group * group; whole > 0 {
		var ctr lanes
		for k := range width {
			ctr[0][k] = uint64(c[0] + uint32(k))
			ctr[1][k], ctr[2][k], ctr[3][k] = uint64(c[1]), uint64(c[2]), uint64(c[3])
		}
		normalsSIMD(dst[:whole], &ctr, &n.Keys)
		dst = dst[whole:]
		c[0] += uint32(whole / 4)
	}
	for ; len(dst) > 0; c[0]++ {
		k := n.waiting
		n.ctr[0][k], n.ctr[1][k], n.ctr[2][k], n.ctr[3][k] = uint64(c[0]), uint64(c[1]), uint64(c[2]), uint64(c[3])
		n.pieces[k] = dst[:min(4, len(dst))]
		n.most = max(n.most, len(n.pieces[k]))
		dst = dst[len(n.pieces[k]):]
		if n.waiting++; n.waiting == width {
			n.Flush()
		}
	}
}

// Flush fills what the rows so far have left over.
func (n *Normals) Flush() {
	if n.waiting == 0 {
		return
	}
	var z [group]float32
	each := 4
	if n.most <= 2 && pairsSIMD((*[group / 2]float32)(z[:]), &n.ctr, &n.Keys) {
		each = 2 // of a point in the plane half a block is left unused
	} else {
		normalsSIMD(z[:], &n.ctr, &n.Keys)
	}
	for k, piece := range n.pieces[:n.waiting] {
		for j, v := range z[each*k : each*k+len(piece)] { // too few for copy
			piece[j] = v
		}
	}
	n.waiting, n.most = 0, 0
}

// normals is Row without vectors.
func (keys *Keys) normals(dst []float32, c [4]uint32) {
	var w [chunk]uint32
	for len(dst) > 0 {
		part := dst[:min(len(dst), chunk)]
		keys.Words(w[:(len(part)+7)/8*8], c)
		boxMuller(part, &w)
		dst = dst[len(part):]
		c[0] += chunk / 4
	}
}

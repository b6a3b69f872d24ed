package ops

import "testing"

// TestRowPieces: two threads share few rows evenly, and each row is in one piece.
func TestRowPieces(t *testing.T) {
	for m := wholeRows; m <= 128; m++ {
		p := &product{m: m, k: 192, n: 768}
		rows := p.rowsOfEight()
		if pieces := ceilDiv(m, rows); pieces%2 != 0 || rows < 8 {
			t.Errorf("%d rows are cut into %d pieces of %d", m, pieces, rows)
		}
	}
}

// TestPanelPieces: the product of one row with weights that take long to read is
// work for several, that with small ones is not, and neither leaves a panel out.
func TestPanelPieces(t *testing.T) {
	for _, c := range []struct{ m, k, panels, most, least int }{
		{1, 192, 36, 12, 2}, // 0.9 MB of weights
		{1, 64, 4, 1, 1},    // 32 KB
		{64, 192, 18, 18, 9},
	} {
		p := &product{m: c.m, k: c.k}
		step := p.panelStep(c.panels, p.panelNanos(c.m))
		if pieces := ceilDiv(c.panels, step); step < 1 || pieces < c.least || pieces > c.most {
			t.Errorf("%d rows of %d by %d panels: %d pieces of %d panels, want %d to %d pieces", c.m, c.k, c.panels, pieces, step, c.least, c.most)
		}
	}
}

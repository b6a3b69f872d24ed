package kernel

// shallowSteps is the depth up to which a product is shallow.
const shallowSteps = 4

// shallow computes the whole ones among panels [panel0,panel1) of a product of k ≤
// shallowSteps, where there is assembly for it, and returns the first panel that is
// left: see GemmPanels. A tile would be gone through faster than it is set up and
// written; here the weights stay in registers and a row of c is written at once.
func shallow(c []float32, ldc int, a []float32, lda int, packed []float32, m, n, k, panel0, panel1 int, bias []float32) int {
	var begin [2 * PanelCols]float32
	for panel1 = min(panel1, n/PanelCols); panel0 < panel1; {
		j := panel0 * PanelCols
		if bias != nil {
			copy(begin[:], bias[j:min(len(bias), panel1*PanelCols)])
		}
		did := shallowSIMD(c[j:], ldc, a, lda, packed[j*k:], k*PanelCols, &begin, m, panel1-panel0, k)
		if did == 0 {
			break
		}
		panel0 += did
	}
	return panel0
}

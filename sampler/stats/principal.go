package stats

import (
	"context"
	"math"
	"slices"
)

// Principal are the k directions along which samples vary most, unit vectors one after another: the eigenvectors of their covariance with the largest
// eigenvalues, by orthogonal iteration (Golub & Van Loan, Matrix Computations, section 7.3). Those whose eigenvalues hardly differ may come out
// turned among themselves. It returns fewer where samples do not vary in k dimensions.
func Principal(x []float64, dim, k int) []float64 { return principal(context.Background(), x, dim, k) }

func principal(ctx context.Context, x []float64, dim, k int) []float64 {
	mean := MomentsOf(x, dim).Mean
	n := len(x) / dim
	k = min(k, dim, n-1)
	v := directions(k, dim, 0)
	next, score := make([]float64, len(v)), make([]float64, k)
	row := make([]float64, dim)
	for range 20 {
		clear(next)
		for i := 0; i < n && ctx.Err() == nil; i++ { // next = XᵀX v
			for j := range row {
				row[j] = x[i*dim+j] - mean[j]
			}
			for c := range score {
				score[c] = dot(row, v[c*dim:(c+1)*dim])
			}
			for c, s := range score {
				for j, u := range row {
					next[c*dim+j] += s * u
				}
			}
		}
		v, next = next, v
		if k = orthogonal(v, dim); k < len(score) {
			v, next, score = v[:k*dim], next[:k*dim], score[:k]
		}
	}
	return v
}

// orthogonal makes rows orthogonal unit vectors (Gram–Schmidt, twice), and returns how many there are: rows that depend on those before leave.
func orthogonal(rows []float64, dim int) int {
	kept := 0
	for at := 0; at < len(rows); at += dim {
		r := slices.Clone(rows[at : at+dim])
		size := math.Sqrt(dot(r, r))
		for range 2 {
			for c := range kept {
				q := rows[c*dim : (c+1)*dim]
				s := dot(r, q)
				for j := range r {
					r[j] -= s * q[j]
				}
			}
		}
		left := math.Sqrt(dot(r, r))
		if !(left > 1e-9*size) {
			continue
		}
		for j := range r {
			rows[kept*dim+j] = r[j] / left
		}
		kept++
	}
	return kept
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

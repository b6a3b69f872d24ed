// Package stats tells whether samples come from one law.
//
//	results, p, err := stats.Compare(ctx, a, b, dim, stats.Options{})
//
// a and b hold samples of dim values each, side by side. p is the probability of differences as large as those found, or larger, if the two laws are
// the same: of all tests together, whatever their number. results has every test by itself.
//
//	test                what it sees                     its probability  from
//	Welch               mean and spread of a number      Student's t      Welch 1947; Brown & Forsythe 1974
//	KolmogorovSmirnov   the law of a number              asymptotic       Kolmogorov 1933; Stephens 1970
//	Energy              any difference of laws           permutations     Székely & Rizzo 2004
//	MMD2                any difference, by its scale     permutations     Gretton et al. 2012
//	SlicedWasserstein   how far one law is from another  permutations     Rabin et al. 2011
//	C2ST                what lies beside what            normal           Lopez-Paz & Oquab 2017
//
// A number of a sample is an element of it, its projection onto a random direction or onto a principal one, or what [Options.Coordinates] makes of
// it. Counts have [UniformTail] and [SameTail]. [Holm] corrects probabilities for their number.
//
// # Design
//
// Why are there so many tests? Each is blind to something: moments to all that is beyond the second, single numbers to how they hang together, and
// what sees everything sees little of anything in many dimensions. They are corrected for their number, so that to add one costs little.
//
// Why permutations? The distances have no simple law of their own. Under the hypothesis any choice of which samples are the first set is as likely
// as the one at hand, so its rank among random ones is a probability, exactly, for any number of samples; but no smaller than one by the number of
// permutations. The other tests reach any probability, and err for few samples.
//
// Why is p not the smallest of the results? Because that is small by chance where there are many. Half of what may be spent goes to the tests
// whose probabilities are those of permutations, half to the others, and in each half Holm's correction holds whatever their dependence.
//
// Why float64? Samples are float32 because networks are; sums over many of them are not.
package stats

// Package plan decides what runs when, in which memory.
//
// A [Program] is a model whose nodes have been checked and whose constant part
// has been computed. [Program.Compile] makes a [Plan] of it for given input
// shapes, in passes that each have a file:
//
//	specialise   every shape followed through the model, every operator given
//	             its kernel, shape arithmetic folded away
//	fuse         patterns of nodes joined into one: what exporters write as
//	             seven nodes becomes one GroupNorm (fuse.go lists them; there is
//	             a file for each kind)
//	layOut       the memory layout of every value, with as few reorders as the
//	             operators' wishes allow
//	express      the result as a gorgonia expression graph, one op a kernel (as
//	             several, of 4096 ops each, when there are more)
//	memory       one arena: lifetimes, views, in-place results, offsets
//
// When each row of the outputs depends on the same row of the inputs alone (rows.go),
// a batch is not one plan but one for a tile of rows that stays in the cache, run as
// often as needed by each thread for itself (tile.go).
//
// When all samples of a batch share an input, the time above all, [Program.CompileAhead]
// cuts the model in two: what depends on that input alone is computed for one row,
// and kept for the next step and batch at the same time (split.go, ahead.go, table.go).
//
// [Program.Pullback] makes the plan of a model and its derivative: after
// specialise, pullback adds the nodes of a reverse pass to the graph.
//
// A [Machine] is a plan bound to memory. It implements gorgonia.VM, and it is a
// loop over tasks: no look-ups, no allocation, no locks of its own.
//
// # Design
//
// Why one plan for each input shape? Every decision that depends on a shape
// (algorithm, layout, split of work, offset in memory) is then made once, and
// the run loop only calls. Score networks see one or two shapes in their life.
//
// What of an input that decides a shape, like the shape of a Reshape? When it is
// a list or a single number, a plan is made for its value too, which counts as a
// constant (byvalue.go). Another value makes another plan.
//
// What of If, Loop and Scan? Specialising puts the nodes of their bodies in their
// place, round after round (control.go), so no later pass knows of them. That
// needs the number of rounds then; a condition computed in the run picks between
// the results of both branches.
//
// Why a gorgonia graph? It carries the order, the operator contract and the
// differentiation of the network in a form that others can read. Its own
// machines are not used: they allocate and lock for every node.
//
// Why differentiate before layouts are chosen? The backward half then goes through
// the same passes as the forward half: joined, laid out, placed in one arena,
// where a value needed on the way back simply lives longer. The ops of the
// gorgonia graph differentiate by the same rules (symdiff.go).
//
// What of the transposes and reshapes around attention? view.go follows a value back
// to what it is a permuted piece of, and attention, rotary embeddings and products
// read it there, by strides.
//
// Why do weights belong to the Program and not to the plan? Plans for other
// batch sizes share them, packed once.
//
// Why are skip connections copied, and not made where they are joined? It was tried,
// for a batch of one, where the parts of a Concat lie one after the other. Values
// then live longer and less is computed in place; what the copy had cost, under 1 %,
// went into memory traffic.
//
// Who stops a piece of work, and what if it panics? Every pass asks the context of
// its call before every node, a machine before every operator and every part of
// one. Whatever this package exports defers a guard (guard.go), which makes a
// panic, in a worker too, an error that names the node; a machine in which that
// happened is dropped. The guard also catches faults in a mapped file.
//
// How is memory bounded? By an account (guard.go): constants, packed weights and
// folded values are entered before they are made, and when a plan is placed its
// arena, what its operators list and what a run gives. What idle machines and old
// plans hold is counted too: past the same bound they are let go.
//
// How is time bounded, for models of any size? Every pass is near linear in the nodes:
// patterns end after a few nodes (fuse.go), a place in the arena is found in a tree
// over time (memory.go), and loops that would be written out too long are refused.
//
// Does the result depend on the batch or on the threads? No. A kernel is chosen
// by the shape of one sample, its parts do not depend on the number of workers,
// and each output element is summed in one fixed order.
package plan

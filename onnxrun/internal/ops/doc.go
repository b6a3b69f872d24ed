// Package ops knows what an ONNX operator means. It is given one node and the
// types of its inputs, and answers with the types of its outputs and the tasks
// that compute them. It knows no graph: what runs when, and in which memory, is
// for the caller to say.
//
// The way through it:
//
//	Check    is this node one we know, with the inputs, outputs and attributes
//	         of its version?
//	Layouts  in which memory layout does it want its inputs?
//	Lower    Call → Kernel: the outputs' types, and how much memory to work in
//	Bind     Kernel, Memory → []Task: closures over slices
//	Run      Task.Run(part, worker), once for each part, on any goroutine
//	Grad     how the gradient of the inputs follows from that of the outputs
//
// Everything that can be refused is refused by Lower, with an error that names
// the node, what was found and what is wanted. Binding may allocate; running
// does not. Every operator has one row in table.go and one function in the file
// of its family; the loops over float32 are those of package kernel.
//
// Any file may come this way, and sizes are what it says they are. So Lower makes
// nothing whose size a shape decides: what an operator lists (offsets, maps,
// filters) is made by Bind, with its bytes in Kernel.Tables before, and sizes are
// multiplied with a bound (room, in limits.go). Bind, and parts of work that may
// take long, ask now and then whether anybody still waits (pace.go).
//
// # Design
//
// Why are shapes always known? A plan is made for the shapes of one input, so
// Lower sees numbers and decides everything that depends on them once: strides,
// merged dimensions, which loop, how the work is shared out. Shape arithmetic in
// the graph is constant by then; an operator whose shape would depend on the
// data of a run is unsupported.
//
// How is work shared out? In parts that depend on the shapes alone, never on the
// number of workers, and every output element is computed by one part, in one
// fixed order. So a result has the same bits whatever the number of threads. It
// has the same bits in a batch of one and of many, too: a loop with a scalar and
// a loop with a vector give the same, or only one of them is used.
//
// How does broadcasting get fast? Dimensions that all operands step through
// evenly are merged (strided.go). What is left has long runs, and then each is
// one call of a kernel, or short ones, and then operands are laid out in small
// tiles and computed a tile at a time (broadcast.go).
//
// What of old opsets? A node from before opset 7 is read as the newer one that
// means the same (legacy.go).
//
// What moves data? One engine, for Concat, Split, Slice, Transpose, Expand and
// Tile (move.go): a box of elements with strides on both sides. Only the size of
// an element matters to it. Gathers compute their offsets from indices
// (gather.go). Reshape and its like move nothing: they are views.
//
// How is a derivative written? As more nodes, by a rule for each operator
// (gradrules.go, to be read as a table of calculus): the derivative of a product
// is a product, that of a convolution a convolution with its weights turned round.
// So it is laid out, joined and run as any network is, and most of it can be
// differentiated again. Only what no operator computes well has a kernel of its
// own: slopes of activations, normalisations, maxima, and sparse maps along an
// axis, which is what resizing, padding and averaging come to backwards. An
// operator without a rule is refused; a rule that gives nothing says that the
// gradient is zero.
//
// What is the Blocked layout? Channels in blocks of 16, innermost: what
// convolutions compute in. Element-wise operators stay in it, as operations on
// the physical shape [N, C/16, spatial..., 16]. Its spare lanes hold zeros: who
// writes a blocked tensor clears them, part by part (lanes.go).
//
// What about 16-bit floats? They are held and computed as float32. Only a Cast
// to one rounds to its precision, and it rounds once, also from float64.
//
// What is defined here that the standard leaves open? Integers wrap. Dividing
// one by zero gives 0, and so does the remainder. A float cast to an integer is
// truncated and saturates, NaN is 0. NaN goes through Max, Min and the
// reductions. A reduction of nothing is its neutral element; a mean, NaN.
//
// What if an index is wrong? Indices known at compile time are checked by Lower.
// One that is computed while the model runs makes its task panic with an
// *IndexError, before anything is read out of bounds; whoever runs tasks
// recovers from that.
package ops

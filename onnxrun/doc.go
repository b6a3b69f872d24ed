// Package onnxrun runs ONNX networks in pure Go.
//
// [Open] reads a model, [Model.Run] evaluates it, [Model.Field] makes it a
// function of samples and times, which is what a sampler wants,
// [Model.ConditionalOf] one of their classes as well, and [Model.Pullback] and
// [Model.ConditionalPullbackOf] differentiate them. Nothing else is needed, and
// everything else is internal:
//
//	internal/onnx    what the file says
//	internal/ops     what an operator means
//	internal/plan    what runs when, in which memory
//	internal/kernel  how the numbers are made
//
// # Design
//
// What happens at Open, and what at the first run? Open maps the file, checks
// every node and compiles the model for one sample, so that a model that cannot
// run is refused there, with all the reasons. The first run at another input
// shape compiles a plan for it; later runs only compute.
//
// Can goroutines share a Model? Yes. Runs at the same time use memory of their
// own and share the weights and the threads.
//
// Does a result depend on the batch size or the number of threads? No, not in a
// single bit, on one kind of machine. Machines with other vector instructions
// (see [ISA]) round differently in the last bits.
//
// What if the file is hostile? Every size is checked against [Limits] before
// memory is taken, and whatever is wrong comes back as an error that says where.
// External data are read from the model's folder and nowhere else, from regular
// files. A file that is truncated while it is mapped is an error of the run that
// needs what is gone, and so is a panic in any goroutine of this package
// ([InternalError]); neither ends the process.
//
// How is work stopped? By its context: [Config.Open], Load and Parse, [Model.Run],
// Plan and Profile stop before the next operator, or the next part of a large one,
// and their error wraps the context's. What they leave undone the next call does.
// A Model keeps no context. A field has one for life, that of [Model.FieldOf]: its
// calls have no argument for it.
//
// How much memory does a model take? At most Limits.Memory for the constants, what
// is made of them and one run; as much again may be kept ready for later runs. Runs
// at the same time each work in memory of their own: up to twice as many as there are
// processors, the others wait for their turn.
package onnxrun

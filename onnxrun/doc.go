// Package onnxrun runs ONNX networks in pure Go.
//
// [Open] reads a model, [Model.Run] evaluates it, [Model.Field] makes it a
// function of samples and times, which is what a sampler wants, and
// [Model.Pullback] differentiates it. Nothing else is needed, and everything else
// is internal:
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
package onnxrun

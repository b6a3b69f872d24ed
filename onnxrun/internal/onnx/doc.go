// Package onnx reads ONNX files: what a file says, nothing interpreted.
//
// [Open] maps a file, [Load] reads one from an fs.FS, [Parse] takes bytes. All
// give a [Model]: operator set imports, metadata, and a [Graph] of nodes in an
// order in which they can run, whose values are small integers and whose
// weights are views of the mapped file. What an operator means, which
// attributes it takes and which shapes come out is for the packages above.
//
// Reading goes through three steps.
//
//  1. The wire (wire.go, decode.go, tensorproto.go, external.go). The protobuf
//     bytes are walked once, with protowire, into plain structs. Every count
//     and size is checked against [Limits] before anything is allocated for
//     it. Tensors stored as raw bytes become views; the typed encodings are
//     converted. External data files are mapped too.
//  2. The graph (build.go, functions.go). Names become indices; functions of
//     the model are inlined, each call with value names of its own; Constant
//     nodes become weights; bodies of If, Loop and Scan become Graphs, with a
//     list of what they capture; nodes are sorted; names that are made twice,
//     never, or in a cycle are errors.
//  3. The topology (topology.go). The nodes, by now checked and numbered, are
//     written as a small model that onnx-go decodes behind our own backend.
//     What it delivers becomes Graph.Nodes, after comparison with step 2.
//
// Errors are one line, naming the file and the node: [FormatError] for bytes
// that are not a valid model, [UnsupportedError] for what this runtime cannot
// do, [LimitError] for what it may not do. No bytes make it panic.
//
// # Design
//
// Why not leave the decoding to onnx-go? It drops operator set imports, node
// names, domains, symbolic dimensions and metadata, fails on graph-valued
// attributes, reads 16-bit floats, bools and empty tensors wrongly or not at
// all, copies weights element by element, and panics on damaged files. It sees
// only the numbered topology, which has none of these.
//
// Why can the weights be views? A file is mapped private and read-only, so a
// view costs no memory until it is touched, and pages can be dropped again.
// Raw has whatever alignment the file gives it, and is little-endian on every
// machine: read it with [Decode] or Float32s, Float64s, Int64s, Bools. The
// price is that views end with Close, and that a file which is truncated while it
// is mapped makes reading them a fault: see changed.go.
//
// Why do initializers that are also graph inputs not show as inputs? Before IR
// version 4 every initializer had to be listed twice; since then it means a
// default that a caller may override. Nobody overrides weights here.
//
// What can a body see? The values of the graphs around it, through
// Graph.Captures, one level at a time: a capture's Outer is a value of the
// enclosing graph, possibly itself a capture. A node with bodies comes after
// everything that they capture. A name made inside a body hides one outside.
//
// What can a function see? Its inputs alone, and the attributes of its call,
// through references; one that the call leaves out takes the function's
// default or is left out. Its nodes run at the operator set version that the
// function imports. A graph cannot be passed as an attribute. A function of an
// operator's name is called in its place.
//
// What of strings and 4- or 8-bit floats? Such a tensor keeps its type and
// shape and has no Raw, so that a file is refused only if a node uses it, by
// whoever knows what the node takes. The same goes for attributes of kinds
// that no operator here takes: the kind is kept. Sparse tensors, sequences and
// optionals as inputs, outputs or constants are refused here.
//
// Where may external data lie? In the model's folder or below it, in regular
// files, symbolic links followed as long as they stay inside. In a Hugging
// Face cache, where snapshots/REVISION/model.onnx is a link into blobs, they may
// lead into these blobs as well. A checksum, where there is one, is verified.
//
// How is a hostile file kept cheap? Most of what is allocated is proportional
// to fields read and elements of lists, and these are counted, also those that
// inlining repeats; nodes, names and other text, depth and bytes of constants have
// limits of their own. Everything is linear in what was read.
//
// What is known of a file that is damaged? What stands beside the graph, and the
// graph up to the damage: Describe gives it beside the error.
package onnx

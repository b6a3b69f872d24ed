package onnx

import (
	"bytes"
	"unicode/utf8"
)

// signatures are the beginnings of what people give in place of a model.
var signatures = []struct{ prefix, what string }{
	{"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the model: fetch it with git lfs pull"},
	{"<!DOCTYPE", "an HTML page, not an ONNX model"},
	{"<!doctype", "an HTML page, not an ONNX model"},
	{"<html", "an HTML page, not an ONNX model"},
	{"<?xml", "an XML file, not an ONNX model"},
	{"PK\x03\x04", "a zip archive (as PyTorch checkpoints and .npz files are), not an ONNX model"},
	{"\x1f\x8b", "a gzip file, not an ONNX model"},
	{"\x93NUMPY", "a NumPy file, not an ONNX model"},
	{"\x89HDF", "an HDF5 file, not an ONNX model"},
	{"\x89PNG", "a PNG image, not an ONNX model"},
	{"%PDF", "a PDF file, not an ONNX model"},
}

// sniff says what bytes that are not an ONNX model look like; "" when they
// look like nothing known.
func sniff(data []byte) string {
	if len(data) == 0 {
		return "the file is empty"
	}
	start := bytes.TrimLeft(data[:min(len(data), 512)], "\ufeff \t\r\n")
	for _, s := range signatures {
		if bytes.HasPrefix(start, []byte(s.prefix)) {
			return s.what
		}
	}
	if len(data) >= 8 && string(data[4:8]) == "ORTM" {
		return "a model in onnxruntime's own ORT format, want the ONNX format"
	}
	if isText(data[:min(len(data), 512)], len(data) > 512) {
		return "a text file, not an ONNX model"
	}
	return ""
}

// isText reports whether b, which may be cut short, is printable UTF-8.
func isText(b []byte, cut bool) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return cut && len(b) < utf8.UTFMax
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return false
		}
		b = b[n:]
	}
	return true
}

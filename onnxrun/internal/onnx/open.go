package onnx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
)

// Open maps a model file and decodes it. External data is looked for beside
// the file, as path names it, and mapped too. The mappings last until Close;
// the files must not be changed or truncated before.
func Open(ctx context.Context, path string, lim Limits) (*Model, error) {
	m, err := Describe(ctx, path, lim)
	return whole(path, m, err)
}

// Describe is Open for a model that is not to run: what is not supported is noted
// in Model.Unsupported and is no error. Of a file that breaks the format, or a limit,
// behind the place where its graph begins, it gives what was read before beside the
// error: nodes in the order of the file, functions not inlined, weights without Raw.
func Describe(ctx context.Context, path string, lim Limits) (*Model, error) {
	lim = lim.WithDefaults()
	if err := ctx.Err(); err != nil {
		return nil, inFile(path, err)
	}
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("onnxrun: %w", err)
	}
	defer f.Close()
	data, unmap, err := mapRegular(f, lim.FileBytes)
	if err != nil {
		return nil, inFile(path, err)
	}
	// A mapped file may lose its end while it is read; see Changed.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	ext := beside(path)
	ext.closers = append(ext.closers, unmap)
	ext.mapped = append(ext.mapped, data)
	m, err := parse(ctx, data, lim, ext)
	return m, inFile(path, err)
}

// Load reads a model, and its external data, from a file system.
func Load(ctx context.Context, fsys fs.FS, name string, lim Limits) (*Model, error) {
	lim = lim.WithDefaults()
	data, err := readRegular(ctx, fsys, name, lim.FileBytes, lim.Memory)
	if err != nil {
		return nil, inFile(name, err)
	}
	m, err := parse(ctx, data, lim, within(fsys, path.Dir(name), lim.Memory-int64(len(data))))
	return whole(name, m, inFile(name, err))
}

// Parse decodes a model from its bytes, which the model keeps and which must
// not be changed. There is no external data.
func Parse(ctx context.Context, data []byte, lim Limits) (*Model, error) {
	lim = lim.WithDefaults()
	if int64(len(data)) > lim.FileBytes {
		return nil, Over("bytes of the model", "FileBytes", int64(len(data)), lim.FileBytes)
	}
	m, err := parse(ctx, data, lim, &externalFiles{})
	return whole("", m, inFile("", err))
}

// whole refuses a model that is supported, or was read, in part.
func whole(name string, m *Model, err error) (*Model, error) {
	if err != nil {
		return nil, err
	}
	if len(m.Unsupported) == 0 {
		return m, nil
	}
	e := &UnsupportedError{File: name, Nodes: m.Unsupported}
	if u := m.Unsupported[0]; u.Op == "" {
		e.Nodes, e.Msg = nil, u.Reason
	}
	m.Close()
	return nil, e
}

// Close unmaps the model's files. Its weights must not be used afterwards.
func (m *Model) Close() error {
	closers := m.closers
	m.closers = nil
	return closeAll(closers)
}

func closeAll(closers []func() error) error {
	var errs []error
	for _, c := range closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// parse decodes data; it closes ext's files when it fails, and gives what Describe
// gives then.
func parse(ctx context.Context, data []byte, lim Limits, ext *externalFiles) (m *Model, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, &InternalError{Value: r, Stack: debug.Stack()}
			if changed(ext.mapped, r) {
				err = ChangedError("")
			}
		}
		if err != nil {
			closeAll(ext.closers)
		}
	}()
	p := &parser{ctx: ctx, lim: lim, ext: ext, names: map[string]string{}}
	pm := p.model(data)
	if _, ok := errors.AsType[*FormatError](p.err); ok {
		if what := sniff(data); what != "" {
			return nil, formatError("", "%s", what)
		}
	}
	if pm.graph == nil {
		return nil, p.err
	}
	m = &Model{
		IRVersion:       pm.irVersion,
		Opset:           pm.opset,
		Producer:        pm.producer,
		ProducerVersion: pm.producerVersion,
		Name:            pm.graph.name,
		Metadata:        pm.metadata,
	}
	err = p.err
	if err == nil {
		b := &builder{p: p, model: pm, lifted: map[listData]*Tensor{}}
		m.Graph, err = b.graph(pm.graph, nil)
		m.Unsupported = b.unsupported
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, err
	default:
		m.Graph, m.Unsupported = pm.graph.listed(pm.opset), nil
		return m, err
	}
	m.closers, m.mapped = ext.closers, ext.mapped
	return m, nil
}

// inFile adds the file's name to an error.
func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*FormatError](err); ok {
		e.File = name
		return e
	}
	if e, ok := errors.AsType[*LimitError](err); ok {
		e.File = name
		return e
	}
	if e, ok := errors.AsType[*UnsupportedError](err); ok {
		e.File = name
		return e
	}
	if e, ok := errors.AsType[*InternalError](err); ok {
		e.File = name
		return e
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("onnxrun: %w", pe)
	}
	if name == "" {
		return fmt.Errorf("onnxrun: %w", err)
	}
	return fmt.Errorf("onnxrun: %s: %w", name, err)
}

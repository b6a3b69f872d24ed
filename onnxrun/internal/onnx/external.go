package onnx

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// externalRef is where a tensor's bytes lie outside the model file.
type externalRef struct {
	location, offset, length, checksum string
}

func (r *externalRef) set(key, value string) {
	switch key {
	case "location":
		r.location = value
	case "offset":
		r.offset = value
	case "length":
		r.length = value
	case "checksum":
		r.checksum = value
	}
}

// externalFiles opens the data files beside a model, each once.
type externalFiles struct {
	// open returns a file's bytes; nil when the model came as bytes, without
	// a place of its own.
	open    func(location string, limit int64) ([]byte, error)
	files   map[string]*externalFile
	closers []func() error
	mapped  [][]byte
}

type externalFile struct {
	data []byte
	sum  string // SHA-1, once asked for
}

// view returns the n bytes that ref points to.
func (x *externalFiles) view(p *parser, ref externalRef, n int64) []byte {
	offset, length := int64(0), n
	var err error
	if ref.offset != "" {
		if offset, err = strconv.ParseInt(ref.offset, 10, 64); err != nil || offset < 0 {
			p.fail("offset %.40q of external data is not a number of bytes", ref.offset)
			return nil
		}
	}
	if ref.length != "" {
		if length, err = strconv.ParseInt(ref.length, 10, 64); err != nil || length < 0 {
			p.fail("length %.40q of external data is not a number of bytes", ref.length)
			return nil
		}
	}
	switch {
	case length != n:
		p.fail("external data has %d bytes, want %d", length, n)
		return nil
	case x.open == nil:
		p.fail("the data is in the external file %.200q, and a model read from bytes has no folder to look in", ref.location)
		return nil
	}
	f := x.file(p, ref.location)
	if f == nil {
		return nil
	}
	size := int64(len(f.data))
	if offset > size || length > size-offset {
		p.fail("external file %.200q has %d bytes, want %d at offset %d", ref.location, size, length, offset)
		return nil
	}
	if ref.checksum != "" {
		if f.sum == "" {
			sum := sha1.Sum(f.data)
			f.sum = hex.EncodeToString(sum[:])
		}
		if !strings.EqualFold(f.sum, ref.checksum) {
			p.fail("external file %.200q has SHA-1 %s, want %.60s", ref.location, f.sum, ref.checksum)
			return nil
		}
	}
	return f.data[offset : offset+length : offset+length]
}

func (x *externalFiles) file(p *parser, location string) *externalFile {
	// Only plain relative names: a model may not point outside its own folder.
	if location == "" || !fs.ValidPath(path.Clean(location)) || !filepath.IsLocal(filepath.FromSlash(location)) {
		p.fail("external file %.200q: want a relative path that stays beside the model", location)
		return nil
	}
	location = path.Clean(location)
	if f, ok := x.files[location]; ok {
		return f
	}
	if len(x.files) >= p.lim.Files {
		p.over("external data files", int64(len(x.files))+1, int64(p.lim.Files))
		return nil
	}
	data, err := x.open(location, p.lim.FileBytes)
	if err != nil {
		if _, ok := errors.AsType[*LimitError](err); ok {
			p.err = err
		} else if errors.Is(err, fs.ErrNotExist) {
			p.fail("external file %.200q is missing, want it beside the model", location)
		} else {
			p.fail("external file %.200q: %s", location, reason(err))
		}
		return nil
	}
	f := &externalFile{data: data}
	x.files[location] = f
	return f
}

// reason is an error's text without the path, which is reported beside it.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	if fe, ok := errors.AsType[*FormatError](err); ok {
		return fe.Msg
	}
	return err.Error()
}

// beside makes an externalFiles that maps files in the folder of a model file.
// os.Root keeps every path, symbolic links included, inside that folder.
func beside(modelPath string) *externalFiles {
	x := &externalFiles{files: map[string]*externalFile{}}
	var root *os.Root
	var sub string
	x.open = func(location string, limit int64) ([]byte, error) {
		if root == nil {
			var dir string
			dir, sub = dataRoot(filepath.Dir(modelPath))
			r, err := os.OpenRoot(dir)
			if err != nil {
				return nil, err
			}
			root = r
			x.closers = append(x.closers, r.Close)
		}
		name := filepath.Join(sub, filepath.FromSlash(location))
		// Opening a pipe would wait for its writer: look before opening, and
		// again at what was opened.
		info, err := root.Stat(name)
		if err != nil {
			return nil, err
		}
		if err := regular(info); err != nil {
			return nil, err
		}
		f, err := root.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		data, unmap, err := mapRegular(f, limit)
		if err != nil {
			return nil, err
		}
		x.closers = append(x.closers, unmap)
		x.mapped = append(x.mapped, data)
		return data, nil
	}
	return x
}

// dataRoot is the folder that external data may not leave, and the model's
// place in it: the model's own folder, except in a Hugging Face cache, where
// snapshots/REVISION holds links into blobs; there it is the repository's.
func dataRoot(dir string) (root, sub string) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir, "."
	}
	for d := abs; ; {
		parent := filepath.Dir(d)
		if parent == d {
			return dir, "."
		}
		if filepath.Base(parent) == "snapshots" {
			repo := filepath.Dir(parent)
			if info, err := os.Stat(filepath.Join(repo, "blobs")); err == nil && info.IsDir() {
				if rel, err := filepath.Rel(repo, abs); err == nil {
					return repo, rel
				}
			}
		}
		d = parent
	}
}

func regular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return formatError("", "a directory, want a regular file")
	default:
		return formatError("", "not a regular file")
	}
}

// mapRegular maps a whole regular file.
func mapRegular(f *os.File, limit int64) (data []byte, unmap func() error, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := regular(info); err != nil {
		return nil, nil, err
	}
	size := info.Size()
	if size > limit || size > math.MaxInt {
		return nil, nil, &LimitError{What: "bytes of " + strconv.Quote(filepath.Base(f.Name())), Got: size, Max: limit}
	}
	if size == 0 {
		return nil, func() error { return nil }, nil
	}
	return mapFile(f, int(size))
}

// within makes an externalFiles that reads files of fsys in the folder dir.
func within(fsys fs.FS, dir string) *externalFiles {
	return &externalFiles{
		files: map[string]*externalFile{},
		open: func(location string, limit int64) ([]byte, error) {
			return readRegular(fsys, path.Join(dir, location), limit)
		},
	}
}

func readRegular(fsys fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The size is a hint: what is read is what counts.
	var b bytes.Buffer
	if size := info.Size(); size > 0 && size <= limit {
		b.Grow(int(size) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(f, limit))
	if err != nil {
		return nil, err
	}
	if n == limit {
		if m, _ := f.Read(make([]byte, 1)); m > 0 {
			return nil, &LimitError{What: "bytes of " + strconv.Quote(path.Base(name)), Got: max(info.Size(), limit+1), Max: limit}
		}
	}
	return b.Bytes(), nil
}

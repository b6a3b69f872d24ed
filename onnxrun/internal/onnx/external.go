package onnx

import (
	"bytes"
	"context"
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
	open    func(ctx context.Context, location string, limit int64) ([]byte, error)
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
		if offset, err = digits(ref.offset); err != nil {
			p.fail("offset %.40q of external data is not a number of bytes", ref.offset)
			return nil
		}
	}
	if ref.length != "" {
		if length, err = digits(ref.length); err != nil {
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
			h := sha1.New()
			for rest := f.data; len(rest) > 0 && !p.stopped(); {
				part := rest[:min(len(rest), piece)]
				h.Write(part)
				rest = rest[len(part):]
			}
			if p.err != nil {
				return nil
			}
			f.sum = hex.EncodeToString(h.Sum(nil))
		}
		if !strings.EqualFold(f.sum, ref.checksum) {
			p.fail("external file %.200q has SHA-1 %s, want %.60s", ref.location, f.sum, ref.checksum)
			return nil
		}
	}
	return f.data[offset : offset+length : offset+length]
}

// digits is a number that is written without a sign.
func digits(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

func (x *externalFiles) file(p *parser, location string) *externalFile {
	// Only plain relative names: a model may not point outside its own folder.
	if location == "" || strings.HasSuffix(location, "/") || !fs.ValidPath(path.Clean(location)) || !filepath.IsLocal(filepath.FromSlash(location)) {
		p.fail("external file %.200q: want a relative path that stays beside the model", location)
		return nil
	}
	location = path.Clean(location)
	if f, ok := x.files[location]; ok {
		return f
	}
	if len(x.files) >= p.lim.Files {
		p.over("Files", "external data files", int64(len(x.files))+1, int64(p.lim.Files))
		return nil
	}
	data, err := x.open(p.ctx, location, p.lim.FileBytes)
	if err != nil {
		if p.stopped() {
			return nil
		}
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
func beside(modelPath string) *externalFiles {
	x := &externalFiles{files: map[string]*externalFile{}}
	var from *folder
	x.open = func(_ context.Context, location string, limit int64) ([]byte, error) {
		if from == nil {
			var err error
			if from, err = openFolder(filepath.Dir(modelPath)); err != nil {
				return nil, err
			}
			x.closers = append(x.closers, from.close)
		}
		f, err := from.open(filepath.FromSlash(location))
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

// A folder is where a model lies. os.Root keeps every path, symbolic links included,
// inside it; except that in a Hugging Face cache, where snapshots/REVISION holds links
// into the folder blobs of the repository, a link may lead there.
type folder struct {
	dir   string
	root  *os.Root
	blobs *os.Root // nil where there are none
}

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, root: root}
	if blobs := blobsOf(dir); blobs != "" {
		f.blobs, _ = os.OpenRoot(blobs) // else the links lead out of the folder
	}
	return f, nil
}

func (f *folder) close() error {
	if f.blobs != nil {
		f.blobs.Close()
	}
	return f.root.Close()
}

func (f *folder) open(name string) (*os.File, error) {
	file, err := f.root.OpenFile(name, openFlags, 0)
	if err == nil || f.blobs == nil {
		return file, err
	}
	target, e := filepath.EvalSymlinks(filepath.Join(f.dir, name))
	if e != nil {
		return nil, err
	}
	// Wherever the link leads by the time that it is opened, it is in blobs.
	in, e := filepath.Rel(f.blobs.Name(), target)
	if e != nil || !filepath.IsLocal(in) {
		return nil, err
	}
	return f.blobs.OpenFile(in, openFlags, 0)
}

// blobsOf is the folder blobs of the repository that dir is a snapshot of, or lies
// in one; "" for any other dir.
func blobsOf(dir string) string {
	at, err := filepath.Abs(dir)
	if err == nil {
		at, err = filepath.EvalSymlinks(at)
	}
	for err == nil && at != filepath.Dir(at) {
		up := filepath.Dir(at)
		if filepath.Base(up) == "snapshots" {
			blobs := filepath.Join(filepath.Dir(up), "blobs")
			if info, err := os.Lstat(blobs); err == nil && info.IsDir() {
				return blobs
			}
		}
		at = up
	}
	return ""
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
		return nil, nil, Over("bytes of "+strconv.Quote(filepath.Base(f.Name())), "FileBytes", size, limit)
	}
	if size == 0 {
		return nil, func() error { return nil }, nil
	}
	return mapFile(f, int(size))
}

// within makes an externalFiles that reads files of fsys in the folder dir. What
// it reads is held in memory, and bounded in sum.
func within(fsys fs.FS, dir string, memory int64) *externalFiles {
	return &externalFiles{
		files: map[string]*externalFile{},
		open: func(ctx context.Context, location string, limit int64) ([]byte, error) {
			data, err := readRegular(ctx, fsys, path.Join(dir, location), limit, memory)
			memory -= int64(len(data))
			return data, err
		},
	}
}

// untilDone is a reader that ends with the error of a context that is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p[:min(len(p), piece)])
}

// readRegular reads a whole regular file of at most limit bytes, Limits.FileBytes,
// and of at most memory, what is left of Limits.Memory.
func readRegular(ctx context.Context, fsys fs.FS, name string, limit, memory int64) ([]byte, error) {
	field := "FileBytes"
	if memory < limit {
		limit, field = max(memory, 0), "Memory"
	}
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
	if info, err = f.Stat(); err != nil { // what was looked at need not be what was opened
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	// The size is a hint: what is read is what counts.
	var b bytes.Buffer
	if size := info.Size(); size > 0 && size <= limit {
		b.Grow(int(size) + bytes.MinRead)
	}
	n, err := b.ReadFrom(untilDone{ctx, io.LimitReader(f, limit)})
	if err != nil {
		return nil, err
	}
	if n == limit {
		if m, _ := f.Read(make([]byte, 1)); m > 0 {
			return nil, Over("bytes of "+strconv.Quote(path.Base(name)), field, max(info.Size(), limit+1), limit)
		}
	}
	return b.Bytes(), nil
}

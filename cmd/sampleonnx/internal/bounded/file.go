// Package bounded keeps what comes from outside small: files are regular ones, whose size is known before they are read, and the bytes that one run of
// the command holds, of its files and of what it makes of them, are counted before they are taken.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FormatError says that a file is not what its name promises.
type FormatError struct {
	File   string // path, and the member's name for an archive
	Reason string
}

func (e *FormatError) Error() string { return e.File + ": " + e.Reason }

// File is a regular file that is open for reading. Reads end with the error of the context that is done.
type File struct {
	Size int64
	file *os.File
	ctx  context.Context
}

// Open opens a regular file. What is none, a pipe or a device, could keep its reader waiting or never end; it is a *FormatError.
func Open(ctx context.Context, name string) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return nil, err
	}
	return regular(ctx, name, f)
}

// OpenBeside opens a regular file that is looked for because of another, a model, in that one's folder. A symbolic link may lead to a file of the same
// folder or below, and from a snapshot in Hugging Face's cache to the cache's blobs, where all its files are; any other is a *FormatError.
func OpenBeside(ctx context.Context, name string) (*File, error) {
	dir, base := filepath.Split(name)
	f, link, err := openIn(filepath.Clean(dir), base)
	if link != "" {
		if blobs := blobsOf(dir); blobs != "" && !filepath.IsAbs(link) {
			if in, e := filepath.Rel(blobs, filepath.Join(absolute(dir), link)); e == nil && filepath.IsLocal(in) {
				f, _, err = openIn(blobs, in)
			}
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		pe.Path = name
	}
	switch {
	case err == nil:
	case link == "", errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		return nil, &FormatError{name, "a symbolic link that leads out of the model's folder, and is not followed"}
	}
	return regular(ctx, name, f)
}

// openIn opens a file that is in dir wherever its links lead; link is where the last one does when it could not be opened.
func openIn(dir, name string) (f *os.File, link string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	if f, err = root.OpenFile(name, os.O_RDONLY|nonblocking, 0); err != nil {
		link, _ = root.Readlink(name)
	}
	return f, link, err
}

// blobsOf is the folder blobs of the cache, models--OWNER--NAME/snapshots/REVISION/…, that a folder is in; "" for one that is in none.
func blobsOf(dir string) string {
	for d := absolute(dir); filepath.Dir(d) != d; d = filepath.Dir(d) {
		if parent := filepath.Dir(d); filepath.Base(parent) == "snapshots" {
			blobs := filepath.Join(filepath.Dir(parent), "blobs")
			if info, err := os.Stat(blobs); err == nil && info.IsDir() {
				return blobs
			}
		}
	}
	return ""
}

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func regular(ctx context.Context, name string, f *os.File) (*File, error) {
	info, err := f.Stat()
	if err == nil {
		switch mode := info.Mode(); {
		case mode.IsRegular():
			return &File{info.Size(), f, ctx}, nil
		case mode.IsDir():
			err = &FormatError{name, "a directory, want a file"}
		default:
			err = &FormatError{name, "a pipe or a device, want a regular file"}
		}
	}
	f.Close()
	return nil, err
}

func (f *File) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.file.Read(p)
}

// ReadAt is that of io.ReaderAt.
func (f *File) ReadAt(p []byte, at int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, at)
}

// Rewind goes back to the beginning.
func (f *File) Rewind() error {
	_, err := f.file.Seek(0, io.SeekStart)
	return err
}

func (f *File) Close() error { return f.file.Close() }

// All is what the file holds, from where it has been read to; more than most bytes are a *FormatError.
func (f *File) All(most int64) ([]byte, error) {
	if f.Size > most {
		return nil, &FormatError{f.file.Name(), fmt.Sprintf("%d bytes, want at most %d", f.Size, most)}
	}
	text := make([]byte, f.Size)
	n, err := io.ReadFull(f, text)
	if err == io.EOF || err == io.ErrUnexpectedEOF { // it has become shorter
		err = nil
	}
	return text[:n], err
}

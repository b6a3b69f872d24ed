package npy

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/bounded"
)

// Named is a member of an archive.
type Named struct {
	Name string
	Array
}

// ReadZipFile reads every array of an .npz file.
func ReadZipFile(ctx context.Context, name string) (map[string]Array, error) {
	f, err := bounded.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadZip(ctx, name, f, f.Size)
}

const (
	maxDirectory = 4 << 20 // bytes of an archive's list of members, of which the reader makes ten times as many in memory
	maxDeflation = 1032    // bytes that a byte can expand to: a bit for 258 twice, the length and the distance
)

// ReadZip reads every array of an archive of size bytes; name is what errors call it.
func ReadZip(ctx context.Context, name string, r io.ReaderAt, size int64) (map[string]Array, error) {
	list := &directory{r: r, left: maxDirectory}
	z, err := zip.NewReader(list, size)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", name, ctx.Err())
	case err != nil:
		return nil, &FormatError{File: name, Reason: "not an .npz file: " + strings.TrimPrefix(err.Error(), "zip: ")}
	}
	list.left = math.MaxInt
	out := make(map[string]Array)
	for _, f := range z.File {
		key, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			return nil, &FormatError{File: name, Reason: fmt.Sprintf("member %q is not an .npy file", f.Name)}
		}
		if _, twice := out[key]; twice {
			return nil, &FormatError{File: name, Reason: fmt.Sprintf("member %q occurs twice", f.Name)}
		}
		if out[key], err = readMember(ctx, name+":"+key, f, size); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readMember(ctx context.Context, name string, f *zip.File, archive int64) (Array, error) {
	if most := min(f.CompressedSize64, uint64(archive)); f.UncompressedSize64/maxDeflation > most {
		return Array{}, &FormatError{File: name, Reason: fmt.Sprintf("%d bytes cannot be %d compressed", f.UncompressedSize64, most)}
	}
	rc, err := f.Open()
	if err != nil {
		return Array{}, &FormatError{File: name, Reason: strings.TrimPrefix(err.Error(), "zip: ")}
	}
	defer rc.Close()
	return Read(ctx, name, rc, int64(f.UncompressedSize64))
}

// directory is an archive of which only so much may be read.
type directory struct {
	r    io.ReaderAt
	left int
}

func (d *directory) ReadAt(p []byte, at int64) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, fmt.Errorf("its directory has more than %d bytes", maxDirectory)
	}
	n, err := d.r.ReadAt(p, at)
	return n, err
}

// WriteZip writes an .npz file as np.savez does, uncompressed, its members in the order given. Equal members give equal bytes: no time is
// recorded.
func WriteZip(w io.Writer, members []Named) error {
	z := zip.NewWriter(w)
	seen := make([]string, 0, len(members))
	for _, m := range members {
		if slices.Contains(seen, m.Name) {
			return fmt.Errorf("npy: member %q given twice", m.Name)
		}
		seen = append(seen, m.Name)
		f, err := z.CreateHeader(&zip.FileHeader{Name: m.Name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := Write(f, m.Array); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return z.Close()
}

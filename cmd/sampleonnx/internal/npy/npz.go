package npy

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Named is a member of an archive.
type Named struct {
	Name string
	Array
}

// ReadZipFile reads every array of an .npz file.
func ReadZipFile(name string) (map[string]Array, error) {
	f, st, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadZip(name, f, st.Size())
}

// ReadZip reads every array of an archive of size bytes; name is what errors call it. Its members share one limit, MaxBytes.
func ReadZip(name string, r io.ReaderAt, size int64) (map[string]Array, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, &FormatError{name, "not an .npz file: " + strings.TrimPrefix(err.Error(), "zip: ")}
	}
	out := make(map[string]Array)
	left := int64(MaxBytes)
	for _, f := range z.File {
		key, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			return nil, &FormatError{name, fmt.Sprintf("member %q is not an .npy file", f.Name)}
		}
		if _, twice := out[key]; twice {
			return nil, &FormatError{name, fmt.Sprintf("member %q occurs twice", f.Name)}
		}
		a, used, err := readMember(name+":"+key, f, left)
		if err != nil {
			return nil, err
		}
		left -= used
		out[key] = a
	}
	return out, nil
}

func readMember(name string, f *zip.File, limit int64) (Array, int64, error) {
	rc, err := f.Open()
	if err != nil {
		return Array{}, 0, &FormatError{name, strings.TrimPrefix(err.Error(), "zip: ")}
	}
	defer rc.Close()
	count := &counter{r: rc}
	br := bufio.NewReader(count)
	a, err := read(name, br, limit)
	if err != nil {
		return Array{}, 0, err
	}
	// Reading to the end lets the zip reader check its sum.
	switch _, err := br.ReadByte(); {
	case err == nil:
		return Array{}, 0, &FormatError{name, "bytes follow the array"}
	case err != io.EOF:
		return Array{}, 0, &FormatError{name, strings.TrimPrefix(err.Error(), "zip: ")}
	}
	return a, count.n, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
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

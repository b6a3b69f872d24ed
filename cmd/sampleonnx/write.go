package main

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"sampleonnx/cmd/sampleonnx/internal/npy"
	"sampleonnx/cmd/sampleonnx/internal/picture"
)

// drawn is what a run of a sampler gives.
type drawn struct {
	x     []float32 // n samples, one after the other
	n     int
	shape []int
	view  display
	meta  string // JSON: what it takes to draw the same again

	columns int // of a picture of images; 0: as square as it goes
}

// display says how the model's numbers become brightness.
type display struct {
	lo, hi float64
	known  bool    // otherwise black and white are the extremes of the samples
	alpha  float64 // if not 0, the data are logit(α+(1−2α)x)
}

// outputFormat is the suffix that decides how samples are written. It is checked before anything is computed.
func outputFormat(name string, shape []int, stdout io.Writer) (string, error) {
	if name == "-" {
		if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return "", usagef("-o - writes binary .npy data, and stdout is a terminal: redirect it")
		}
		return ".npy", nil
	}
	suffix := strings.ToLower(filepath.Ext(name))
	if !slices.Contains([]string{".png", ".npy", ".npz", ".csv"}, suffix) {
		return "", usagef("-o %s: the suffix decides the format, and it must be .png, .npy, .npz or .csv (or - for npy on stdout)", name)
	}
	if suffix == ".png" && !drawable(shape) {
		return "", usagef("-o %s: a picture needs images of 1 or 3 channels, or points in the plane, and a sample's shape is %v: use .npy, .npz or .csv", name, shape)
	}
	return suffix, nil
}

func drawable(shape []int) bool {
	return len(shape) == 1 && shape[0] == 2 || len(shape) == 3 && (shape[0] == 1 || shape[0] == 3)
}

// save writes samples in the given format.
func save(name, format string, stdout io.Writer, d drawn) error {
	return writeWhole(name, stdout, func(w io.Writer) error { return encode(w, format, d) })
}

func encode(w io.Writer, format string, d drawn) error {
	x := npy.Array{Shape: append([]int{d.n}, d.shape...), Data: d.x}
	switch format {
	case ".npy":
		return npy.Write(w, x)
	case ".npz":
		return npy.WriteZip(w, []npy.Named{{Name: "x", Array: x}, {Name: "meta", Array: npy.Array{Shape: []int{}, Data: []string{d.meta}}}})
	case ".csv":
		return writeCSV(w, d)
	}
	img, err := draw(d)
	if err != nil {
		return err
	}
	return png.Encode(w, img)
}

func draw(d drawn) (image.Image, error) {
	if len(d.shape) == 1 {
		return picture.Scatter(d.x)
	}
	x, r := d.view.apply(d.x)
	if d.columns > 0 {
		return picture.Rows(x, d.columns, d.n/d.columns, d.shape, r)
	}
	return picture.Grid(x, d.n, d.shape, r)
}

// apply brings samples back from logits, and finds the range that is shown.
func (v display) apply(x []float32) ([]float32, picture.Range) {
	if v.alpha != 0 {
		out := make([]float32, len(x))
		for i, u := range x {
			out[i] = float32((1/(1+math.Exp(-float64(u))) - v.alpha) / (1 - 2*v.alpha))
		}
		return out, picture.Range{Lo: 0, Hi: 1}
	}
	if v.known {
		return x, picture.Range{Lo: v.lo, Hi: v.hi}
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, u := range x {
		lo, hi = min(lo, float64(u)), max(hi, float64(u))
	}
	if !(lo < hi) {
		hi = lo + 1
	}
	return x, picture.Range{Lo: lo, Hi: hi}
}

// writeCSV writes a line a sample, its elements in C order.
func writeCSV(w io.Writer, d drawn) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	size := len(d.x) / max(d.n, 1)
	var line []byte
	for i := range size {
		line = append(line, "x"...)
		line = strconv.AppendInt(line, int64(i), 10)
		line = append(line, ',')
	}
	for i := range d.n + 1 {
		if i > 0 {
			line = line[:0]
			for _, v := range d.x[(i-1)*size : i*size] {
				line = strconv.AppendFloat(line, float64(v), 'g', -1, 32)
				line = append(line, ',')
			}
		}
		line[len(line)-1] = '\n'
		if _, err := bw.Write(line); err != nil {
			return err
		}
	}
	return bw.Flush()
}

// checkWritable finds out before the work whether a file can be created where name says, and leaves nothing there.
func checkWritable(name string) error {
	if name == "-" || special(name) {
		return nil
	}
	f, err := temporary(name)
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// special reports whether name is there and is no regular file (a device, a pipe): such a thing is written to, not replaced.
func special(name string) bool {
	st, err := os.Stat(name)
	return err == nil && !st.Mode().IsRegular()
}

// writeWhole writes a file so that it appears complete or not at all: to a temporary file in the same directory, flushed to the disk, then
// renamed.
func writeWhole(name string, stdout io.Writer, fill func(io.Writer) error) error {
	if name == "-" {
		return fill(stdout)
	}
	if special(name) {
		return writeSpecial(name, fill)
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target // replace what a link points to, not the link
	}
	f, err := temporary(name)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect once renamed
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if old, err := os.Stat(name); err == nil {
		os.Chmod(f.Name(), old.Mode().Perm()) // best effort
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return cannotWrite(name, err)
	}
	if dir, err := os.Open(filepath.Dir(name)); err == nil { // makes the rename last, where the system can
		dir.Sync()
		dir.Close()
	}
	return nil
}

func writeSpecial(name string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return cannotWrite(name, err)
	}
	return errors.Join(fill(f), f.Close())
}

// temporary creates a new file beside name, with the permissions that a new file gets here.
func temporary(name string) (*os.File, error) {
	dir, base := filepath.Split(name)
	for i := range 1000 {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf(".%s.%d.%d.tmp", base, os.Getpid(), i)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, cannotWrite(name, err)
		}
	}
	return nil, fmt.Errorf("cannot write %s: too many temporary files beside it", name)
}

// cannotWrite names the file that was asked for, not the temporary one.
func cannotWrite(name string, err error) error {
	var path *os.PathError
	var link *os.LinkError
	if errors.As(err, &path) {
		err = path.Err
	} else if errors.As(err, &link) {
		err = link.Err
	}
	return fmt.Errorf("cannot write %s: %w", name, err)
}

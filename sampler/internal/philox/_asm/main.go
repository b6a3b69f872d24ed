// Command asm writes the assembly of package philox. Run it by "go generate"
// in the parent folder.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: asm DIR")
	}
	c := build.NewContext()
	c.ConstraintExpr("!purego")
	t := &table{c: c, used: map[uint64]bool{}}
	for _, wide := range []bool{true, false} {
		for pairs := 2; pairs > 0; pairs-- {
			(&em{Context: c, avx512: wide, table: t}).normals(pairs)
		}
	}
	t.flush()
	file, err := c.Result()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range file.Functions() {
		merge(f)
	}
	if err := pass.Compile.Execute(file); err != nil {
		log.Fatal(err)
	}
	cfg := printer.Config{Name: "_asm", Pkg: "philox"}
	text, err := printer.NewGoAsm(cfg).Print(file)
	if err != nil {
		log.Fatal(err)
	}
	checkAVX2(text)
	stubs, err := printer.NewStubs(cfg).Print(file)
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range map[string][]byte{"normals_amd64.s": text, "normals_stubs_amd64.go": stubs} {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
	normalsNEON(os.Args[1])
}

// checkAVX2 refuses registers that only AVX-512 has in the function for AVX2:
// they would assemble, and die on the machines it is for.
func checkAVX2(text []byte) {
	in := ""
	for _, line := range bytes.Split(text, []byte("\n")) {
		s := string(line)
		if strings.HasPrefix(s, "TEXT") {
			in = s
		}
		if !strings.Contains(in, "AVX2") || strings.HasPrefix(s, "//") {
			continue
		}
		for r := 0; r < 32; r++ {
			for _, kind := range []string{"X", "Y", "Z", "K"} {
				if r < 16 && (kind == "X" || kind == "Y") {
					continue
				}
				if reg := fmt.Sprintf(" %s%d", kind, r); strings.HasSuffix(s, reg) || strings.Contains(s, reg+",") {
					log.Fatalf("%s: %s", in, s)
				}
			}
		}
	}
}

package neon

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every instruction of the table is the one of its name, by a disassembler that
// knows them all.
func TestWords(t *testing.T) {
	objdump, err := exec.LookPath("aarch64-linux-gnu-objdump")
	if err != nil {
		t.Skip("needs aarch64-linux-gnu-objdump, of the package binutils-aarch64-linux-gnu: ", err)
	}
	// What the disassembler calls otherwise, and what an amount of 0 would be.
	names := map[string]string{"TBL2": "tbl", "EXT8": "ext", "FMLA1": "fmla"}
	amount := map[string]uint32{"SHL.4S": 33 << 16, "SSHR.4S": 63 << 16, "USHR.2D": 76 << 16}
	var all []string
	var code []byte
	for name, bits := range words {
		bits |= amount[name]
		// Destination V1, sources V2 and, for an instruction that has two, V3.
		bits |= 2<<5 | 1
		if two(name) {
			bits |= 3 << 16
		}
		all = append(all, name)
		code = binary.LittleEndian.AppendUint32(code, bits)
	}
	file := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\s+[0-9a-f]+:\s+[0-9a-f]{8}\s+(\S+)\s+(.*)$`).FindAllStringSubmatch(string(out), -1)
	if len(lines) != len(all) {
		t.Fatalf("%d instructions, want %d", len(lines), len(all))
	}
	for i, name := range all {
		mnemonic, lanes, _ := strings.Cut(name, ".")
		want := strings.ToLower(mnemonic)
		if s, ok := names[mnemonic]; ok {
			want = s
		}
		got, operands := lines[i][1], lines[i][2]
		if got != want || !strings.HasPrefix(operands, "v1."+strings.ToLower(lanes)+",") || !strings.Contains(operands, "v2.") || two(name) != strings.Contains(operands, "v3.") {
			t.Errorf("%s is %s %s", name, got, operands)
		}
	}
}

// two reports whether an instruction has two sources.
func two(name string) bool {
	mnemonic, _, _ := strings.Cut(name, ".")
	switch mnemonic {
	case "FNEG", "FABS", "FSQRT", "FRINTN", "FRINTM", "FRINTP", "FCVTNS", "SCVTF", "UCVTF", "FCVTL", "FCVTL2", "FCVTN", "FCVTN2",
		"SXTL", "SXTL2", "UXTL", "UXTL2", "SHLL", "SHLL2", "DUP", "SHL", "SSHR", "USHR":
		return false
	}
	return true
}

// Registers that a loop needs outlive it, and what dies makes room.
func TestRegisters(t *testing.T) {
	emit := func(live int) (string, bool) {
		e := &Func{file: NewFile("p", "f")}
		var kept []Reg
		for range live {
			kept = append(kept, e.Zero())
		}
		e.Label("loop")
		sum := e.Zero()
		for _, r := range kept {
			sum = e.Op("FADD.4S", sum, r)
		}
		e.Store(sum, "R0", 0)
		x := e.Load("R1", 0) // may have the place of sum, of none in kept
		e.Store(x, "R0", 16)
		e.Branch("BNE", "loop")
		return e.assemble()
	}
	text, ok := emit(31)
	if !ok {
		t.Fatal("31 registers and one more do not fit into 32")
	}
	for r := range 31 {
		if n := strings.Count(text, fmt.Sprintf(" V%d.B16, V%d.B16, V%d.B16", r, r, r)); n != 1 {
			t.Errorf("V%d is set %d times, want once", r, n)
		}
	}
	if strings.Count(text, "F31") != 3 {
		t.Errorf("V31 is stored, loaded and stored; have\n%s", text)
	}
	if _, ok := emit(32); ok {
		t.Error("32 registers and one more fit into 32")
	}
}

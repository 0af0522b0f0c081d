package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// heavy is what the daemon must not be built with: each costs memory at rest.
var heavy = map[string]string{
	"text/template":  "what can run templates keeps every exported method of the program",
	"html/template":  "what can run templates keeps every exported method of the program",
	"net/http/pprof": "it serves the daemon's memory to whoever reaches it",
}

// TestImports lists what the daemon is built from, as the Makefile builds it.
func TestImports(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	tags := regexp.MustCompile(`(?m)^TAGS\s*:=\s*(\S+)$`).FindSubmatch(makefile)
	if tags == nil {
		t.Fatal("the Makefile has no TAGS")
	}
	out, err := exec.Command("go", "list", "-deps", "-tags", string(tags[1]), ".").Output()
	if err != nil {
		t.Fatalf("cannot list what the daemon imports: %v", err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if why, ok := heavy[pkg]; ok {
			t.Errorf("the daemon imports %s: %s", pkg, why)
		}
	}
}

package docker

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/docker.md instead of comparing them")

// A feature is a row of a table: a flag, an endpoint, or a part of one.
type feature struct {
	// name begins with the flag, or with the endpoint's method and path.
	name string
	// refused has the exact words of the refusal, for the walls that refuse.
	refused map[wall]string
	// note tells the page's readers more.
	note string
	// prove fails the test unless the feature does on the wall what it is for,
	// or is refused in these words.
	prove func(t *testing.T, w wall)
	// once is set for what has to do with no container, and is proved once.
	once bool
}

// both refuses on both walls in the same words.
func both(words string) map[wall]string {
	return map[wall]string{"container": words, "vm": words}
}

// proved are the features by name and wall whose proof has held.
var proved sync.Map

// prove runs the features' proofs.
func prove(t *testing.T, features []feature) {
	for _, f := range features {
		on := walls
		if f.once {
			on = walls[:1]
		}
		t.Run(strings.ReplaceAll(f.name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			for _, w := range on {
				t.Run(string(w), func(t *testing.T) {
					t.Parallel() // much of it is waiting
					f.prove(t, w)
					if !t.Failed() && !t.Skipped() {
						proved.Store(f.name+string(w), true)
					}
				})
			}
		})
	}
}

// together is a proof of several features at once, which is made once on each
// wall.
func together(prove func(t *testing.T, w wall)) func(t *testing.T, w wall) {
	type proof struct {
		sync.Once
		held bool
	}
	proofs := map[wall]*proof{}
	for _, w := range walls {
		proofs[w] = new(proof)
	}
	return func(t *testing.T, w wall) {
		p := proofs[w]
		p.Do(func() {
			prove(t, w)
			p.held = !t.Failed() && !t.Skipped()
		})
		if !p.held {
			t.Error("the proof has failed that this shares with others")
		}
	}
}

// table writes the rows.
func table(title string, features []feature) string {
	features = slices.Clone(features)
	slices.SortStableFunc(features, func(a, b feature) int { return strings.Compare(order(a.name), order(b.name)) })
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | container | vm | |\n| --- | --- | --- | --- |\n", title)
	for _, f := range features {
		b.WriteString(f.row())
	}
	return b.String()
}

// row is the feature's line.
func (f feature) row() string {
	cell := func(w wall) string {
		if f.refused[w] != "" {
			return "refused"
		}
		return "works"
	}
	var notes []string
	if f.note != "" {
		notes = append(notes, f.note)
	}
	var said []string
	for _, w := range walls {
		if words := f.refused[w]; words != "" && !slices.Contains(said, words) {
			said = append(said, words)
			notes = append(notes, "“"+words+"”")
		}
	}
	line := fmt.Sprintf("| `%s` | %s | %s | %s |", f.name, cell("container"), cell("vm"), strings.Join(notes, "; "))
	return strings.ReplaceAll(line, "|  |", "| |") + "\n"
}

// order is what rows are sorted by: endpoints by path, then method.
func order(name string) string {
	if method, path, ok := strings.Cut(name, " "); ok && !strings.HasPrefix(name, "-") {
		return path + " " + method
	}
	return name
}

const page = checkout + "/docs/docker.md"

// checkPage holds the page's table to the features, or writes it.
func checkPage(t *testing.T, marker, title string, features []feature) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+marker+": made by make docs -->\n", "<!-- end of "+marker+" -->\n"
	before, rest, ok1 := strings.Cut(string(b), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", page, begin, end)
	}
	now := "\n" + table(title, features) + "\n"
	if !*update {
		if old != now {
			t.Errorf("the table %q of docs/docker.md is not what holds: run make docs\n%s", marker, difference(old, now))
		}
		return
	}
	// What the page says already was proved when it was written.
	for _, f := range features {
		for _, w := range walls {
			if _, ok := proved.Load(f.name + string(w)); !ok && (!f.once || w == walls[0]) && !strings.Contains(old, f.row()) {
				t.Fatalf("%s is not proved on %s: the page stays as it is", f.name, w)
			}
		}
	}
	if err := os.WriteFile(page, []byte(before+begin+now+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// difference lists the lines that only one of two texts has.
func difference(old, now string) string {
	var b strings.Builder
	was, is := strings.Split(old, "\n"), strings.Split(now, "\n")
	for _, l := range was {
		if !slices.Contains(is, l) {
			b.WriteString("- " + l + "\n")
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}

// complete fails for what of a list no feature is a case for, and for features
// of what is not in the list. words says how many of a name's are its key.
func complete(t *testing.T, list []string, features []feature, words int) {
	have := map[string]bool{}
	for _, f := range features {
		fields := strings.Fields(f.name)
		key := strings.Join(fields[:min(words, len(fields))], " ")
		have[key] = true
		if !slices.Contains(list, key) {
			t.Errorf("there is a case for %s, which there is not", key)
		}
	}
	for _, key := range list {
		if !have[key] {
			t.Errorf("there is no case for %s: add one to test/docker", key)
		}
	}
}

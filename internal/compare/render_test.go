package compare

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := report(5).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ +container +vm *$`,
		`(?m)^start +52 ms \(50 ms to 54 ms\) +302 ms \(300 ms to 304 ms\)$`,
		`(?m)^memory +6 MiB .*-$`,
		`(?m)^  memory \(vm\): <b>it & ended</b>$`,
		`(?m)^  docker: not installed$`,
	} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

// The system calls of each wall are a bar, and a hypervisor's another.
func TestCallsChart(t *testing.T) {
	var got []string
	for _, b := range report(5).callsChart().Bars {
		got = append(got, fmt.Sprintf("%s %.0f %.0f %s", b.Name, b.Width, b.Part, b.Text))
	}
	if want := "container 270 270 all 9|vm 0 0 none: its own kernel answers|hypervisor 150 210 5 + 2 of 9"; strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
	if ch := (&Report{Contestants: []Contestant{{Name: "docker"}}}).callsChart(); ch != nil {
		t.Errorf("nothing is known, and yet: %+v", ch)
	}
}

// The page is well formed, holds what it tells as text, and needs nothing
// from elsewhere.
func TestHTML(t *testing.T) {
	for _, r := range []*Report{report(5), report(1), {Image: `<script>"&`}} {
		var b bytes.Buffer
		if err := r.WriteHTML(&b); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		if m := regexp.MustCompile(`(?i)<script|<b>it|https?://|src=|href=|url\(|@import|\bNaN\b|ZgotmplZ`).FindString(page); m != "" {
			t.Errorf("the page has %q", m)
		}
		d := xml.NewDecoder(strings.NewReader(page))
		d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
		for depth := 0; ; {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				if depth != 0 {
					t.Errorf("%d elements are not closed", depth)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch tok.(type) {
			case xml.StartElement:
				depth++
			case xml.EndElement:
				depth--
			}
		}
		for _, c := range r.Contestants {
			if !strings.Contains(page, c.Name) {
				t.Errorf("the page does not tell of %s", c.Name)
			}
		}
		want := len(r.measured())
		if r.callsChart() != nil {
			want++
		}
		if strings.Count(page, "<svg") != want {
			t.Errorf("%d charts, want %d", strings.Count(page, "<svg"), want)
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(report(2))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if c := back.Contestants[1]; c.Metrics["start"].N != 2 || c.Runs[0].Memory != nil || c.Missing[0].What != "memory" || c.Missing[0].Reason == "" {
		t.Errorf("%s", b)
	}
}

func TestWrap(t *testing.T) {
	if got := wrap("one two  three µµµµ", 9); got != "one two\nthree\nµµµµ" {
		t.Errorf("%q", got)
	}
}

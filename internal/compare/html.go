package compare

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageSource string

// WriteHTML writes the report as one page that needs nothing besides itself.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageSource) // here, as no other command needs it
	if err != nil {
		return err
	}
	return t.Execute(w, r.page())
}

// page is what the template shows.
type page struct {
	Image, Command, HowOften, HTTP, Machine, Began string
	Verdict                                        []string
	Contestants                                    []pageContestant
	Charts                                         []chart
	Facts                                          []pageFact
	Gaps                                           []Missing
	RunTitles                                      []string
	Runs                                           []pageRun
	Settle, How                                    string
}

type pageContestant struct{ Name, Class, Engine string }

type pageFact struct {
	Title string
	Cells []string
}

type pageRun struct {
	Name, Class string
	N           int
	Cells       []string
}

// chart is a metric's, or the image sizes'. Lengths are of its viewBox.
type chart struct {
	Title, About string
	Height       int
	Bars         []bar
}

type bar struct {
	Name, Class, Text, Spread string
	Y, Base                   int // of the bar, and of the words beside it
	Width, End                float64
	Dots                      []float64
}

const (
	barHeight = 26
	barPitch  = 44
	barLeft   = 96.0  // where bars begin
	barRoom   = 390.0 // that the longest one takes
)

func (r *Report) page() page {
	p := page{
		Image: r.Image, Command: r.commandText(), HowOften: r.howOften(), HTTP: r.HTTP, Verdict: r.Verdict, Gaps: r.gaps(),
		Machine: fmt.Sprintf("%d CPUs (%s), %s of memory, Linux %s", r.Machine.CPUs, r.Machine.Arch, bytesText(float64(r.Machine.Memory)), r.Machine.Kernel),
		Began:   r.Began.Format("2 January 2006, 15:04 MST"), Settle: secondsText(r.Settle),
	}
	if r.Throughput {
		p.How = how
	}
	shown := r.measured()
	for i := range r.Contestants {
		c := &r.Contestants[i]
		p.Contestants = append(p.Contestants, pageContestant{c.Name, class(c.Name), c.Engine})
	}
	for _, m := range shown {
		p.Charts = append(p.Charts, r.chart(m))
		p.RunTitles = append(p.RunTitles, m.title)
	}
	for i, f := range (&Facts{}).lines() {
		row := pageFact{Title: f.title}
		for j := range r.Contestants {
			row.Cells = append(row.Cells, r.Contestants[j].Isolation.lines()[i].text)
		}
		p.Facts = append(p.Facts, row)
	}
	size := pageFact{Title: "image on disk"}
	for _, c := range r.Contestants {
		size.Cells = append(size.Cells, bytesText(float64(c.ImageBytes)))
	}
	p.Facts = append(p.Facts, size)
	for n := range r.Repeat {
		for i := range r.Contestants {
			c := &r.Contestants[i]
			if n >= len(c.Runs) {
				continue
			}
			row := pageRun{Name: c.Name, Class: class(c.Name), N: n + 1}
			for _, m := range shown {
				cell := "–"
				if v := m.get(&c.Runs[n]); v != nil {
					cell = m.text(*v)
				}
				row.Cells = append(row.Cells, cell)
			}
			p.Runs = append(p.Runs, row)
		}
	}
	return p
}

// class is the CSS class of a contestant's colour.
func class(name string) string {
	if slices.Contains([]string{"container", "vm", "docker", "podman"}, name) {
		return name
	}
	return "other"
}

// chart draws a metric: a bar to the median, a dot for every run.
func (r *Report) chart(m metric) chart {
	ch := chart{Title: sentence(m.title), About: m.about}
	if m.kind.more() {
		ch.About += "; more is better"
	}
	most := 0.0
	for _, c := range r.Contestants {
		most = max(most, c.Metrics[m.key].Max)
	}
	scale := 0.0
	if most > 0 {
		scale = barRoom / most
	}
	for i := range r.Contestants {
		c := &r.Contestants[i]
		b := bar{Name: c.Name, Class: class(c.Name), Y: i*barPitch + 8, Base: i*barPitch + 8 + barHeight/2, Text: "not measured"}
		if s, ok := c.Metrics[m.key]; ok {
			b.Text, b.Spread = m.text(s.Median), m.spread(s)
			b.Width = max(s.Median*scale, 1)
			b.End = barLeft + max(s.Max*scale, b.Width)
			for j := range c.Runs {
				if v := m.get(&c.Runs[j]); v != nil {
					b.Dots = append(b.Dots, barLeft+*v*scale)
				}
			}
		} else {
			b.End = barLeft
		}
		b.End += 12
		ch.Bars = append(ch.Bars, b)
	}
	ch.Height = len(r.Contestants)*barPitch + 4
	return ch
}

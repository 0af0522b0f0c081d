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
	Verdict                                        []pageRemark
	Contestants                                    []pageContestant
	Costs, Throughputs                             []chart
	Calls                                          *chart
	Facts                                          []pageFact
	Gaps                                           []Missing
	RunTitles                                      []string
	Runs                                           []pageRun
	Settle, How                                    string
}

type pageRemark struct {
	Lead  string
	Parts []string
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

func (r *Report) page() page {
	p := page{
		Image: r.Image, Command: r.commandText(), HowOften: r.howOften(), HTTP: r.HTTP, Gaps: r.gaps(), Calls: r.callsChart(),
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
	for _, m := range r.remarks() {
		p.Verdict = append(p.Verdict, pageRemark{m.lead, m.parts})
	}
	for _, m := range shown {
		if slices.ContainsFunc(costs, func(c metric) bool { return c.key == m.key }) {
			p.Costs = append(p.Costs, r.chart(m))
		} else {
			p.Throughputs = append(p.Throughputs, r.chart(m))
		}
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

package main

import (
	"image/color"
	"math"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The size of a chart, and of a bar.
const (
	chartWidth  = 16 * vg.Centimeter
	chartHeight = 9 * vg.Centimeter
	barWidth    = 1.2 * vg.Centimeter
)

// paint has a colour per contestant: strong ones for Abode's walls.
var paint = map[string]color.Color{
	"container": color.RGBA{R: 0x0b, G: 0x7a, B: 0x75, A: 0xff}, "vm": color.RGBA{R: 0xd1, G: 0x49, B: 0x5b, A: 0xff},
	"docker": color.RGBA{R: 0x8d, G: 0x99, B: 0xae, A: 0xff}, "podman": color.RGBA{R: 0xb0, G: 0xa1, B: 0x8f, A: 0xff},
	"runc": color.RGBA{R: 0x6b, G: 0x70, B: 0x7b, A: 0xff}, "qemu": color.RGBA{R: 0xc9, G: 0xad, B: 0xa7, A: 0xff},
	"floor": color.RGBA{R: 0xd9, G: 0xd9, B: 0xd9, A: 0xff},
}

// charts draws what has figures, and returns the files' names.
func (r *report) charts(dir string) (map[*table]string, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	files := map[*table]string{}
	for _, t := range r.Tables {
		p := plot.New()
		p.Title.Text, p.Title.TextStyle.Font.Size = t.Title, vg.Points(13)
		p.Y.Label.Text = t.Unit
		drawing, sized := t.bars, false
		for _, row := range t.Rows {
			sized = sized || row.Level != t.Rows[0].Level
		}
		if sized {
			drawing = t.lines
		}
		drawn, err := drawing(p)
		if err != nil {
			return nil, err
		}
		if !drawn {
			continue
		}
		files[t] = t.Case + "-" + t.Metric + ".svg"
		if err := p.Save(chartWidth, chartHeight, filepath.Join(dir, files[t])); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// bars draws a bar to the median for each contestant, with its figure, and a
// whisker to the p95.
func (t *table) bars(p *plot.Plot) (drawn bool, err error) {
	var names []string
	labels, whiskers := plotter.XYLabels{}, struct {
		plotter.XYs
		plotter.YErrors
	}{}
	for _, r := range t.Rows {
		if len(r.Samples) == 0 {
			continue
		}
		bar, err := plotter.NewBarChart(plotter.Values{max(r.Median, 0)}, barWidth)
		if err != nil {
			return false, err
		}
		bar.XMin, bar.Color, bar.LineStyle.Width = float64(len(names)), paint[r.Contestant], 0
		p.Add(bar)
		labels.XYs = append(labels.XYs, plotter.XY{X: float64(len(names)), Y: max(r.Median, 0)})
		labels.Labels = append(labels.Labels, figure(r.Median))
		whiskers.YErrors = append(whiskers.YErrors, struct{ Low, High float64 }{max(r.Median-r.P95, 0), max(r.P95-r.Median, 0)})
		names = append(names, strings.Replace(titles[r.Contestant], " ", "\n", 1))
	}
	if len(names) == 0 {
		return false, nil
	}
	whiskers.XYs = labels.XYs
	ends, err := plotter.NewYErrorBars(whiskers)
	if err != nil {
		return false, err
	}
	figures, err := plotter.NewLabels(labels)
	if err != nil {
		return false, err
	}
	figures.Offset = vg.Point{X: vg.Points(6), Y: vg.Points(3)}
	p.Add(ends, figures)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.7, float64(len(names))-0.3
	p.Y.Min, p.Y.Max = 0, max(p.Y.Max*1.1, 0.001)
	return true, nil
}

// lines draws how a figure changes with the number, both on scales of powers.
func (t *table) lines(p *plot.Plot) (drawn bool, err error) {
	p.X.Label.Text = "running"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for _, who := range everybody {
		var points plotter.XYs
		for _, r := range t.Rows {
			if r.Contestant == who && len(r.Samples) > 0 && r.Median > 0 {
				points = append(points, plotter.XY{X: float64(r.Level), Y: r.Median})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return false, err
		}
		line.Color, line.Width = paint[who], vg.Points(2)
		dots.Color, dots.Shape = paint[who], draw.CircleGlyph{}
		p.Add(line, dots)
		p.Legend.Add(titles[who], line, dots)
		drawn = true
	}
	// Whole powers of ten, so that there is a line above and below.
	p.Y.Min, p.Y.Max = powerBelow(p.Y.Min), powerAbove(p.Y.Max)
	p.X.Max *= 1.5
	return drawn, nil
}

func powerBelow(v float64) float64 { return math.Pow10(int(math.Floor(math.Log10(v)))) }
func powerAbove(v float64) float64 { return math.Pow10(int(math.Ceil(math.Log10(v) + 1e-9))) }

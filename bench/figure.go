package main

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

var (
	ours   = color.RGBA{0x1f, 0x77, 0xb4, 0xff}
	others = color.RGBA{0xb0, 0xb0, 0xb0, 0xff}
)

// draw draws the lives as bars, the shortest on top.
func (r *results) draw(file string) error {
	if len(r.Life) == 0 {
		return nil // nothing of it was measured
	}
	bars := slices.Clone(r.Life)
	slices.SortFunc(bars, func(a, b series) int {
		if a.median() < b.median() {
			return 1
		}
		return -1
	})
	p := plot.New()
	p.Title.Text = "create, start, true, delete: median and 90th percentile, ms (less is better)"
	p.Title.Padding = vg.Points(8)
	p.BackgroundColor = color.White
	p.X.Min = 0
	p.Add(plotter.NewGrid())
	var names []string
	for n, s := range bars {
		names = append(names, s.Name)
		if err := addBar(p, n, s); err != nil {
			return err
		}
	}
	p.NominalY(names...)
	p.X.Max *= 1.08 // room for the last figure
	m := r.Machine
	p.X.Label.Text = fmt.Sprintf("Linux %s, %d CPUs, cgroup %s, %d interleaved rounds, %s", m.Kernel, m.CPUs, m.Cgroup, r.Rounds, r.Date.Format("2006-01-02"))
	return save(p, vg.Length(len(bars))*vg.Centimeter+3*vg.Centimeter, file)
}

// save writes a plot as PNG, with a margin.
func save(p *plot.Plot, height vg.Length, file string) error {
	c := vgimg.New(22*vg.Centimeter, height)
	const margin = 4 * vg.Millimeter
	p.Draw(draw.Crop(draw.New(c), margin, -margin, margin, -margin))
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = vgimg.PngCanvas{Canvas: c}.WriteTo(f)
	return errors.Join(err, f.Close())
}

// addBar adds a peer: a bar to its median, a line to its 90th percentile, and
// the median in figures.
func addBar(p *plot.Plot, n int, s series) error {
	bar, err := plotter.NewBarChart(plotter.Values{s.median()}, vg.Points(16))
	if err != nil {
		return err
	}
	bar.Horizontal = true
	bar.XMin = float64(n)
	bar.LineStyle.Width = 0
	bar.Color = others
	if strings.HasPrefix(s.Name, "ctor ") {
		bar.Color = ours
	}
	y := float64(n)
	whisker, lerr := plotter.NewLine(plotter.XYs{{X: s.median(), Y: y}, {X: s.p90(), Y: y}})
	label, terr := plotter.NewLabels(plotter.XYLabels{
		XYs:    plotter.XYs{{X: max(s.median(), s.p90()), Y: y}},
		Labels: []string{fmt.Sprintf(" %.1f", s.median())},
	})
	if err := errors.Join(lerr, terr); err != nil {
		return err
	}
	whisker.Color = color.Gray{0x40}
	for i := range label.TextStyle {
		label.TextStyle[i].YAlign = draw.YCenter
	}
	p.Add(bar, whisker, label)
	return nil
}

package engine

import (
	"context"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
)

// Top lists the container's processes. psArgs are options of ps; empty: -ef.
// There is no ps: the container may have none, and a guest has none.
func (e *Engine) Top(ctx context.Context, name, psArgs string) (container.TopResponse, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return container.TopResponse{}, err
	}
	columns, err := psColumns(psArgs)
	if err != nil {
		return container.TopResponse{}, err
	}
	client, err := c.running()
	if err != nil {
		return container.TopResponse{}, err
	}
	var top agent.TopResponse
	if err := client.Call(ctx, agent.MethodTop, agent.IDRequest{ID: c.id}, &top); err != nil {
		return container.TopResponse{}, fromAgent(err)
	}
	slices.SortFunc(top.Processes, func(a, b agent.TopProcess) int { return a.PID - b.PID })
	res := container.TopResponse{Processes: [][]string{}}
	for _, col := range columns {
		res.Titles = append(res.Titles, col.title)
	}
	for _, p := range top.Processes {
		res.Processes = append(res.Processes, psRow(columns, psLine{p, top.MemTotal, time.Now()}))
	}
	c.event(events.ActionTop, nil)
	return res, nil
}

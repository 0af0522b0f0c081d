package gauge

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// Peer is a gauge that listens, as who is outside sees it. What it measures
// goes by this side's clock.
type Peer struct{ Address, Secret string }

// dial tells the other side what the connection is for.
func (p Peer) dial(ctx context.Context, purpose byte) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(talkTime))
	context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	if _, err := c.Write(append([]byte(p.Secret), purpose)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// In sends to the container, and tells the bits per second until it had taken
// all of them.
func (p Peer) In(ctx context.Context) (float64, error) { return warmed(ctx, p.in) }

// Out takes what the container sends, and tells the bits per second.
func (p Peer) Out(ctx context.Context) (float64, error) { return warmed(ctx, p.out) }

func warmed(ctx context.Context, transfer func(context.Context, time.Duration) (float64, error)) (float64, error) {
	if _, err := transfer(ctx, warmTime); err != nil {
		return 0, err
	}
	return transfer(ctx, TransferTime)
}

func (p Peer) in(ctx context.Context, d time.Duration) (float64, error) {
	c, err := p.dial(ctx, sink)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b, n, begun := make([]byte, transferSize), 0, time.Now()
	for time.Since(begun) < d {
		got, err := c.Write(b)
		if n += got; err != nil {
			return 0, err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, b[:1]); err != nil {
		return 0, fmt.Errorf("the container did not say that it has all: %w", err)
	}
	return float64(n) * 8 / time.Since(begun).Seconds(), nil
}

func (p Peer) out(ctx context.Context, d time.Duration) (float64, error) {
	c, err := p.dial(ctx, source)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b, n, begun := make([]byte, transferSize), 0, time.Now()
	for time.Since(begun) < d {
		got, err := c.Read(b)
		if n += got; err != nil {
			return 0, err
		}
	}
	return float64(n) * 8 / time.Since(begun).Seconds(), nil
}

// RoundTrip is the median of the seconds that a byte takes there and back.
func (p Peer) RoundTrip(ctx context.Context) (float64, error) {
	c, err := p.dial(ctx, echo)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var took []float64
	b := make([]byte, 1)
	for begun := time.Now(); len(took) <= warmEchoes || time.Since(begun) < EchoTime; {
		one := time.Now()
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return 0, err
		}
		took = append(took, time.Since(one).Seconds())
	}
	took = took[warmEchoes:]
	slices.Sort(took)
	return took[len(took)/2], nil
}

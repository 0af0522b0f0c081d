package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Network is one engine's bridge and all that hangs on it. Its methods may be
// called concurrently; calls on one ID take turns.
type Network struct {
	cfg    Config
	log    *slog.Logger
	ledger *ledger
	tables *tables
	held   reservations
	names  *names
	dns    *resolver
	ids    keyedMutex
	unlock func() // gives the bridge's name up

	// upMu guards what exists on the host: the bridge, its tables, the
	// resolver's sockets. Attach holds it for reading.
	upMu   sync.RWMutex
	bridge bridge // index 0: not up
	stop   chan struct{}
	closed bool

	nftMu   sync.Mutex     // one transaction at a time, in the order of the ledger's changes
	nft     *nftables.Conn // nil: not open; under nftMu
	guarded bool           // the table of family bridge exists; under nftMu

	uplinkMu sync.Mutex
	uplinks  map[string]bool
	uplinks6 map[string]bool // with forwardAll
}

var errClosed = errors.New("cannot use the network: it is closed")

// Open reads the state below cfg.Dir. It changes nothing on the host, but
// refuses a bridge that is another's: the bridge is made by the first Attach, or found again by Recover, which the
// daemon calls once before anything else.
func Open(_ context.Context, cfg Config) (*Network, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the network's directory: %w", err)
	}
	l, err := openLedger(filepath.Join(cfg.Dir, "network.json"))
	if err != nil {
		return nil, err
	}
	l.gateway, l.pool = cfg.Gateway, cfg.Range
	l.subnet6, l.gateway6, l.pool6 = cfg.Subnet6, cfg.gateway6(), cfg.Range6
	if cfg.Default == "" {
		cfg.Default = cfg.Bridge
	}
	n := &Network{
		cfg:     cfg,
		log:     cfg.Log,
		ledger:  l,
		tables:  newTables(cfg.Bridge),
		names:   newNames(cfg.Beyond),
		uplinks: map[string]bool{}, uplinks6: map[string]bool{},
	}
	n.held.six, n.names.subnet6 = cfg.six(), cfg.Subnet6
	if n.unlock, err = n.claim(); err != nil {
		return nil, err
	}
	n.dns = newResolver(cfg.Bridge, n.names, !cfg.Internal, cfg.Log)
	return n, nil
}

// Describe tells what the network is. A bridge that is not there, as no
// container has needed it, will have that subnet unless something else on the
// host takes it before; when there is none to be had, the subnet is not valid.
func (n *Network) Describe() (Description, error) {
	n.upMu.Lock()
	defer n.upMu.Unlock()
	if n.bridge.index == 0 && len(n.ledger.all()) == 0 {
		used, err := usedPrefixes(0)
		if err != nil {
			return Description{}, err
		}
		if subnet, err := chooseSubnet(n.cfg.Subnet, n.ledger.subnet(), append(used, n.cfg.reserved()...)); err == nil {
			n.ledger.setSubnet(subnet)
		}
	}
	if err := n.ledger.save(); err != nil {
		return Description{}, err
	}
	d := Description{Made: n.ledger.d.Made, Subnet: n.ledger.subnet()}
	if d.Subnet.IsValid() {
		d.Gateway = n.cfg.gateway(d.Subnet)
	}
	return d, nil
}

// withBridge calls f while the bridge is up, which it sees to.
func (n *Network) withBridge(ctx context.Context, f func(bridge) error) error {
	n.upMu.RLock()
	for n.bridge.index == 0 {
		n.upMu.RUnlock()
		if err := n.up(ctx); err != nil {
			return err
		}
		n.upMu.RLock()
	}
	defer n.upMu.RUnlock()
	return f(n.bridge)
}

// Up makes the bridge before a container needs it, so that nobody else takes
// its subnet.
func (n *Network) Up(ctx context.Context) error { return n.up(ctx) }

// up makes or takes over everything that containers share.
func (n *Network) up(ctx context.Context) error {
	n.upMu.Lock()
	defer n.upMu.Unlock()
	return n.upLocked(ctx)
}

func (n *Network) upLocked(ctx context.Context) error {
	if n.closed {
		return errClosed
	}
	if n.bridge.index != 0 {
		return nil
	}
	unlock, err := lockHost(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := n.recallUplinks(); err != nil {
		return err
	}
	b, err := n.makeBridge()
	if err != nil {
		return err
	}
	n.stop = make(chan struct{})
	err = func() error {
		if !n.cfg.Internal {
			if err := errors.Join(n.openUplinks(), n.planUplinks6()); err != nil {
				return err
			}
		}
		if err := n.dns.start(n.cfg.gateway(n.ledger.subnet()), n.ledger.subnet()); err != nil {
			return err
		}
		if err := n.loadRules(); err != nil {
			return err
		}
		if err := n.openUplinks6(); err != nil {
			return err
		}
		n.replugAll(b)
		if !n.cfg.Internal {
			if err := n.watchUplinks(n.stop); err != nil {
				return fmt.Errorf("cannot watch the host's addresses: %w", err)
			}
		}
		return n.ledger.save()
	}()
	if err != nil {
		return errors.Join(err, n.downLocked(len(n.ledger.all()) == 0))
	}
	n.bridge = b
	return nil
}

// downLocked stops what runs in this process and, with remove, takes
// everything away that up made. The caller holds upMu and the lock file.
func (n *Network) downLocked(remove bool) error {
	n.bridge = bridge{}
	if n.stop != nil {
		close(n.stop)
		n.stop = nil
	}
	n.dns.stop()
	defer func() {
		n.nftMu.Lock()
		defer n.nftMu.Unlock()
		n.hangUp()
	}()
	if !remove {
		return nil
	}
	if _, err := n.findBridge(); err != nil {
		return nil // another engine's, and so are the links and tables of its name
	}
	return errors.Join(n.sweep(), n.removeBridge(), n.closeUplinks6(), n.unloadRules(), n.closeUplinks())
}

// Close stops the resolver and gives the host ports' reservations up. When
// nothing is attached it removes the bridge, the tables and the settings too;
// else all of that stays, for Recover. Nothing can be attached afterwards.
func (n *Network) Close(ctx context.Context) error {
	n.upMu.Lock()
	defer n.upMu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	defer n.unlock()
	n.held.releaseAll()
	err := n.ledger.save()
	unlock, lerr := lockHost(ctx)
	if lerr != nil {
		return errors.Join(err, lerr, n.downLocked(false))
	}
	defer unlock()
	remove := len(n.ledger.all()) == 0
	if remove {
		if rerr := n.recallUplinks(); rerr != nil {
			n.log.Debug("cannot read which interfaces forward", "error", rerr)
		}
	}
	return errors.Join(err, n.downLocked(remove))
}

// Remove takes the network away with all that is attached to it, which should
// be nothing, and closes it. What a failure leaves, Recover takes away after
// the next Open.
func (n *Network) Remove(ctx context.Context) error {
	if err := func() error {
		n.upMu.Lock()
		defer n.upMu.Unlock()
		for _, e := range n.ledger.all() {
			n.names.remove(e.ID)
			n.held.release(e.ID)
			if err := n.removePort(e); err != nil {
				return err
			}
			n.ledger.release(e.ID)
		}
		return nil
	}(); err != nil {
		return errors.Join(err, n.Close(ctx))
	}
	if err := n.Close(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(n.cfg.Dir); err != nil {
		return fmt.Errorf("cannot remove the network's state: %w", err)
	}
	return nil
}

// isMissing tells that rules were taken away by somebody else.
func isMissing(err error) bool { return errors.Is(err, unix.ENOENT) }

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A guest has one network device, and interfaces in further networks above it,
// told apart by their MACs. On the host each of these has a veth pair as a
// container has, one end of which is a port of its bridge. The other end and
// the guest's tap are connected by rules that look at frames where they come
// in, before anything else of the host does.
//
//	guest: eth1 over eth0 ─ tap ┬ port of the first network's bridge
//	                            └ frames from eth1's MAC ⇄ peer ─ host end: port of this network's bridge

// detourRule leads frames that come in by an interface to another one, or to
// nowhere. Nobody else gets them.
type detourRule struct {
	dev  string           // by which they come in
	from net.HardwareAddr // their sender; nil: any
	to   string           // empty: nowhere
	last bool             // other rules for the same interface come first
}

func detourTable(name string) *nftables.Table {
	return &nftables.Table{Name: tablePrefix + name, Family: nftables.TableFamilyNetdev}
}

// detour replaces the rules of a name, which is a link's.
func detour(name string, rules ...detourRule) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := detourTable(name)
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	for _, r := range rules {
		exprs, err := r.exprs()
		if err != nil {
			return err
		}
		prio := *nftables.ChainPriorityFilter
		if r.last {
			prio++
		}
		ch := c.AddChain(&nftables.Chain{Name: "from-" + r.dev, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookIngress, Priority: &prio, Device: r.dev})
		c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: exprs})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot load nftables rules for %s: %w; check that the kernel has nf_tables with nft_dup_netdev", name, err)
	}
	return nil
}

func (r detourRule) exprs() ([]expr.Any, error) {
	var exprs []expr.Any
	if r.from != nil {
		exprs = append(exprs,
			&expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: r.from})
	}
	if r.to != "" {
		to, err := net.InterfaceByName(r.to)
		if err != nil {
			return nil, fmt.Errorf("cannot find the interface %s: %w", r.to, err)
		}
		exprs = append(exprs,
			&expr.Immediate{Register: reg0, Data: binary.NativeEndian.AppendUint32(nil, uint32(to.Index))},
			&expr.Dup{RegDev: reg0, IsRegDevSet: true})
	}
	return append(exprs, drop()...), nil
}

// dropDetours removes the rules of a name, if there are any.
func dropDetours(name string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := detourTable(name)
	c.AddTable(table)
	c.DelTable(table)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("cannot remove nftables table %s: %w", table.Name, err)
	}
	return nil
}

// sweepDetours removes the rules of all names that begin so, but of those in keep.
func sweepDetours(prefix string, keep func(name string) bool) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	list, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return fmt.Errorf("cannot list nftables tables: %w", err)
	}
	list = slices.DeleteFunc(list, func(t *nftables.Table) bool {
		name, ok := strings.CutPrefix(t.Name, tablePrefix)
		return !ok || !strings.HasPrefix(name, prefix) || keep(name)
	})
	var errs []error
	for _, t := range list {
		errs = append(errs, dropDetours(strings.TrimPrefix(t.Name, tablePrefix)))
	}
	return errors.Join(errs...)
}

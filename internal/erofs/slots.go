package erofs

// Inodes share blocks with each other and with the ends of files. openBlocks
// is how many blocks are kept open to find one where the next fits: more
// waste less, and 16 waste a few percent.
const openBlocks = 16

// A slots hands out places for inodes.
type slots struct {
	out  *output
	open []slot
}

// A slot is the free end of a block.
type slot struct {
	at   int64 // a multiple of slotSize
	left int
}

// alloc returns a place for n bytes. What fits a block is never split over
// two; what does not fit starts a block.
func (s *slots) alloc(n int) (int64, error) {
	n = roundUp(n, slotSize)
	if n > blockSize {
		at, err := s.out.alloc(int64(n))
		if err != nil {
			return 0, err
		}
		if rest := roundUp(n, blockSize) - n; rest > 0 {
			s.keep(slot{at + int64(n), rest})
		}
		return at, nil
	}
	best := -1
	for i, b := range s.open {
		if b.left >= n && (best < 0 || b.left < s.open[best].left) {
			best = i
		}
	}
	if best < 0 {
		at, err := s.out.alloc(blockSize)
		if err != nil {
			return 0, err
		}
		if n < blockSize {
			s.keep(slot{at + int64(n), blockSize - n})
		}
		return at, nil
	}
	b := &s.open[best]
	at := b.at
	b.at += int64(n)
	b.left -= n
	return at, nil
}

// keep opens b, in place of the block with the least room when there are
// openBlocks already.
func (s *slots) keep(b slot) {
	if len(s.open) < openBlocks {
		s.open = append(s.open, b)
		return
	}
	least := 0
	for i := range s.open {
		if s.open[i].left < s.open[least].left {
			least = i
		}
	}
	if s.open[least].left < b.left {
		s.open[least] = b
	}
}

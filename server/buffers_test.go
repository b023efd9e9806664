package server

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBuffersComeBack(t *testing.T) {
	b := newBuffers(64 << 20)
	for _, n := range []int{0, 1, 16 << 10, 16<<10 + 1, 4 << 20, 4<<20 + 1} {
		p := b.Get(n)
		if len(p) != n {
			t.Fatalf("Get(%d) returned %d bytes", n, len(p))
		}
		b.Put(p)
	}
	p := b.Get(1 << 20)
	p[0] = 42
	b.Put(p)
	if q := b.Get(1<<20 - 1); q[0] != 42 {
		t.Error("a buffer that was put back is not used again")
	}
}

// TestBuffersForAllBodies gives back as many bodies as may be under way, and one more: all but that are used again.
func TestBuffersForAllBodies(t *testing.T) {
	const bodies, size = 16, 4 << 20
	b := newBuffers(bodies * size)
	var held [bodies + 1][]byte
	for i := range held {
		held[i] = b.Get(size)
		held[i][0] = 42
	}
	for _, p := range held {
		b.Put(p)
	}
	again := 0
	for range held {
		if b.Get(size)[0] == 42 {
			again++
		}
	}
	if again != bodies {
		t.Errorf("%d of %d buffers are used again, want %d", again, len(held), bodies)
	}
}

func TestBudgetIsFairAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		if !b.Acquire(8, 0) {
			t.Fatal("8 of 10 bytes are not to be had")
		}
		order := make(chan int, 3)
		acquire := func(id int, n int64, patience time.Duration) {
			go func() {
				if b.Acquire(n, patience) {
					order <- id
				} else {
					order <- -id
				}
			}()
			synctest.Wait()
		}
		acquire(1, 9, time.Second) // will give up
		acquire(2, 2, time.Minute) // would fit, but 1 came first
		if len(order) != 0 {
			t.Fatal("a later request overtook an earlier one")
		}
		<-time.After(2 * time.Second) // of the bubble's clock
		synctest.Wait()
		if got := [2]int{<-order, <-order}; got != [2]int{-1, 2} && got != [2]int{2, -1} {
			t.Fatalf("got %v, want 1 refused and 2 served", got)
		}
		b.Release(2)
		b.Release(8)
		if b.mu.free != 10 || len(b.mu.waiting) != 0 {
			t.Errorf("%d bytes free and %d waiting at the end, want 10 and 0", b.mu.free, len(b.mu.waiting))
		}
	})
}

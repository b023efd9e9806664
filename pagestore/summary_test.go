package pagestore

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/digest"
)

func randomDigest(rng *rand.Rand) (d digest.Digest) {
	for i := range d {
		d[i] = byte(rng.Uint32())
	}
	return d
}

// TestSummary adds names from two goroutines, through several layers. All are found; of others few are.
func TestSummary(t *testing.T) {
	s := summary{small: 1000}
	s.init(0)
	const each = 40_000
	var added [2][]digest.Digest
	var wg sync.WaitGroup
	for g := range added {
		rng := rand.New(rand.NewPCG(uint64(g), 1))
		for range each {
			added[g] = append(added[g], randomDigest(rng))
		}
		wg.Go(func() {
			for i := range added[g] {
				s.cur.Load().add(&added[g][i])
			}
		})
	}
	wg.Wait()
	rng := rand.New(rand.NewPCG(2, 1))
	for range 1000 {
		if d := randomDigest(rng); !s.mayHold(&d) {
			t.Fatal("no, before everything is known")
		}
	}
	s.ready.Store(true)
	for g := range added {
		for i := range added[g] {
			if !s.mayHold(&added[g][i]) {
				t.Fatalf("name %d of goroutine %d is lost", i, g)
			}
		}
	}
	wrong := 0
	const asked = 100_000
	for range asked {
		if d := randomDigest(rng); s.mayHold(&d) {
			wrong++
		}
	}
	layers := len(*s.cur.Load().layers.Load())
	t.Logf("%d layers, %.2f %% of the others wrongly perhaps", layers, float64(wrong)*100/asked)
	if layers != 7 || wrong > asked*4/100 {
		t.Fatalf("%d layers, %d of %d others found", layers, wrong, asked)
	}
}

// TestSummaryOfIndex opens a store that holds something: repeats are found before its summary is filled and after, from
// rows that were flushed and from records that were replayed.
func TestSummaryOfIndex(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	rng := rand.New(rand.NewPCG(1, 2))
	p := randomBytes(rng, 1<<20)
	s := openTest(t, o)
	v := newVolume(t, s)
	write(t, s, v, 0, p)
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, o)
		for _, first := range []PageNo{0, 8} { // by regions, by chunks
			before := s.Stats().Counters
			write(t, s, v, first, p)
			wantCounters(t, s, before, Counters{LogicalBytes: 1 << 20, DuplicateBytes: 1 << 20, Records: 1})
			<-s.filled
			if !s.names.ready.Load() {
				t.Fatal("the summary is not ready")
			}
		}
		before := s.Stats().Counters
		q := randomBytes(rng, 1<<16)
		write(t, s, v, 0, q)
		wantCounters(t, s, before, Counters{LogicalBytes: 1 << 16, StoredBytes: 1 << 16, Frames: 1, Chunks: 16, Records: 1})
		write(t, s, v, 0, p)
	}
}

func BenchmarkSummary(b *testing.B) {
	var s summary
	s.init(0)
	s.ready.Store(true)
	rng := rand.New(rand.NewPCG(1, 2))
	names := make([]digest.Digest, 1<<16)
	for i := range names {
		names[i] = randomDigest(rng)
	}
	for range 16 << 20 / len(names) { // 16 Mi names: 64 GiB of chunks
		for i := range names {
			names[i][0]++
			names[i][9] += 7
			s.add(&names[i])
		}
	}
	for i := range names {
		names[i] = randomDigest(rng)
	}
	i := 0
	for b.Loop() {
		s.mayHold(&names[i%len(names)])
		i++
	}
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/clock"
	"pagevault/pagestore"
	"pagevault/replication"
	"pagevault/replication/segment"
)

// defaultMembers is how many copies there are if no --replica says otherwise.
const defaultMembers = 3

// layout is where stores live: folders of accounts below one folder for the index and one for each member.
type layout struct {
	fs       vfs.FS // nil: the operating system's files
	data     string // "": memory
	index    string
	members  []string
	unusable []error         // by member: why nothing can be written there; nil: nothing is known against it
	silent   map[string]bool // members' folders whose disks do not answer: nothing more is asked of them
}

// memoryLayout keeps everything in one file system in memory. There is one member: copies of memory in the same memory
// would guard against nothing.
func memoryLayout() *layout {
	return &layout{fs: vfs.NewMem(), index: "index", members: []string{"replica-1"}}
}

// diskLayout is findLayout for those who are going to write there: it refuses folders in which nothing can be made. Where
// there are stores already, what is wrong with a member's folder is only noted: their logs can do without it, or say why not.
func diskLayout(data string, replicas []string) (*layout, error) {
	l, err := findLayout(data, replicas)
	if err != nil {
		return nil, err
	}
	if err := checkWritable(l.index); err != nil {
		return nil, err
	}
	writable := l.askAll(checkWritable)
	for i := range l.members {
		if l.unusable[i] == nil {
			l.unusable[i] = writable[i]
		}
		if l.unusable[i] != nil && len(l.unserved(nil)) == 0 {
			return nil, l.unusable[i]
		}
	}
	l.sort()
	return l, nil
}

// findLayout says where stores live on disk, and refuses what cannot work. It makes nothing: opening the stores makes what
// is missing. replicas are the members' folders; none means folders below data.
func findLayout(data string, replicas []string) (*layout, error) {
	given := data
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(data); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("--data %s is not a directory", given)
	}
	l := &layout{data: data, index: filepath.Join(data, "index")}
	for i := range defaultMembers {
		l.members = append(l.members, filepath.Join(data, fmt.Sprintf("replica-%d", i+1)))
	}
	if len(replicas) > 0 {
		l.members = nil
		for _, r := range replicas {
			if r, err = filepath.Abs(r); err != nil {
				return nil, err
			}
			l.members = append(l.members, r)
		}
	}
	l.unusable = make([]error, len(l.members))
	l.listen()
	if err := l.checkApart(); err != nil {
		return nil, err
	}
	return l, nil
}

// answerIn is how long a member's disk may take to say what is in a folder, or to make and remove a file in it.
const answerIn = 10 * time.Second

// errSilent says that a disk does not answer.
var errSilent = errors.New("the disk does not answer")

// askAll asks all members' disks something at the same time, and returns what they answer. What hangs is left to them.
func (l *layout) askAll(ask func(dir string) error) []error {
	answers := make([]chan error, len(l.members))
	for i, dir := range l.members {
		answers[i] = make(chan error, 1)
		if l.silent[dir] {
			answers[i] <- errSilent
			continue
		}
		go func() { answers[i] <- ask(dir) }()
	}
	out := make([]error, len(answers))
	late := clock.System.NewTimer(answerIn)
	defer late.Stop()
	for i, over := 0, false; i < len(answers); i++ {
		if !over {
			select {
			case out[i] = <-answers[i]:
				continue
			case <-late.C():
				over = true
			}
		}
		select {
		case out[i] = <-answers[i]:
		default:
			out[i], l.silent[l.members[i]] = errSilent, true
		}
	}
	return out
}

// listen notes the members' folders whose disks do not answer.
func (l *layout) listen() {
	l.silent = map[string]bool{}
	for i, err := range l.askAll(func(dir string) error {
		if there, _, err := existing(dir); err == nil {
			_, _ = os.ReadDir(there) // what it says is asked again
		}
		return nil
	}) {
		if err != nil {
			l.unusable[i] = fmt.Errorf("directory %s: %w", l.members[i], err)
		}
	}
}

// checkWritable shows that files can be made in a folder, or that the folder can be made. It leaves nothing behind.
func checkWritable(dir string) error {
	there, rest, err := existing(dir)
	if err != nil {
		return fmt.Errorf("directory %s cannot be made: %w", dir, cause(err))
	}
	f, err := os.CreateTemp(there, ".writable")
	switch {
	case err != nil && rest != "":
		return fmt.Errorf("directory %s cannot be made: %w", dir, cause(err))
	case err != nil:
		return fmt.Errorf("directory %s cannot be written to: %w", dir, cause(err))
	}
	f.Close()
	return os.Remove(f.Name())
}

// existing splits a folder's path into the longest part that is there, without symbolic links, and the rest, which is not.
func existing(dir string) (there, rest string, err error) {
	for up := dir; ; up = filepath.Dir(up) {
		there, err = filepath.EvalSymlinks(up)
		if !errors.Is(err, fs.ErrNotExist) || up == filepath.Dir(up) {
			return there, rest, err
		}
		if _, err := os.Lstat(up); err == nil {
			return "", "", fmt.Errorf("%s is a symbolic link to nothing", up)
		}
		rest = filepath.Join(filepath.Base(up), rest)
	}
}

// cause returns what went wrong without the path, which the message around it has.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// place is a folder by the name that messages have for it, and where it really is.
type place struct {
	name, dir string
	real      string
	info      os.FileInfo // nil: it does not exist yet
}

// locate finds out where a folder is.
func locate(name, dir string) (place, error) {
	p := place{name: name, dir: dir}
	there, rest, err := existing(dir)
	if err != nil {
		return p, fmt.Errorf("directory %s cannot be made: %w", dir, cause(err))
	}
	p.real = filepath.Join(there, rest)
	if rest == "" {
		p.info, err = os.Stat(there)
	}
	return p, err
}

// same reports whether two places are one folder, by whatever path.
func (p place) same(q place) bool {
	return p.real == q.real || p.info != nil && q.info != nil && os.SameFile(p.info, q.info)
}

// holds reports whether q lies somewhere below p.
func (p place) holds(q place) bool {
	rel, err := filepath.Rel(p.real, q.real)
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, "../")
}

// checkApart returns an error if a member is, contains or lies in another one or the index, or is or contains the data
// directory. Two members in one folder would write over each other, and be one copy at best; what is removed or mounted
// with one must not take another along. A member's folder that cannot be found out about is noted as unusable.
func (l *layout) checkApart() error {
	data, err := locate("the data directory", l.data)
	if err != nil {
		return err
	}
	index, err := locate("the directory of the index", l.index)
	if err != nil {
		return err
	}
	var members []place
	for i, dir := range l.members {
		if l.silent[dir] {
			continue
		}
		m, err := locate(fmt.Sprintf("member %d", i+1), dir)
		if err != nil {
			l.unusable[i] = err
			m.real = dir
		}
		for _, other := range append([]place{data, index}, members...) {
			switch {
			case m.same(other):
				return usagef("%s, %s, and %s, %s, are the same directory", other.name, other.dir, m.name, m.dir)
			case m.holds(other):
				return usagef("%s, %s, lies inside %s, %s", other.name, other.dir, m.name, m.dir)
			case other.holds(m) && other.name != data.name:
				return usagef("%s, %s, lies inside %s, %s", m.name, m.dir, other.name, other.dir)
			}
		}
		members = append(members, m)
	}
	return nil
}

// unserved returns the accounts that the folders hold and that are not among those served, sorted.
func (l *layout) unserved(accounts []blobstore.AccountOptions) []string {
	names := map[string]bool{}
	for _, name := range l.accountsIn(l.index, false) {
		names[name] = true
	}
	for _, dir := range l.members {
		for _, name := range l.accountsIn(dir, true) {
			names[name] = true
		}
	}
	for _, a := range accounts {
		delete(names, a.Name)
	}
	return slices.Sorted(maps.Keys(names))
}

// accountsIn returns the accounts that have a folder in dir. In a member's directory, which is a disk that may hold other
// folders, only those count that say whose they are. What cannot be read holds none: opening the stores says what is wrong.
func (l *layout) accountsIn(dir string, member bool) (names []string) {
	if l.fs != nil || l.silent[dir] {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !e.IsDir() || !validAccountName(e.Name()) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, e.Name(), segment.IdentityName)); member && err != nil {
			continue
		}
		names = append(names, e.Name())
	}
	return names
}

// checkNew returns an error if a store would have to be made, which needs all members, while one of them cannot be written
// to, or is not there: a disk that holds nothing of any account, while others do, may not be mounted.
func (l *layout) checkNew(account string) error {
	if l.fs != nil {
		return nil
	}
	held, some := make([][]string, len(l.members)), false
	for i, dir := range l.members {
		held[i] = l.accountsIn(dir, true)
		some = some || len(held[i]) > 0
		if slices.Contains(held[i], account) {
			return nil
		}
	}
	if slices.Contains(l.accountsIn(l.index, false), account) {
		return nil // pagestore.CheckMembers knows more
	}
	for i, dir := range l.members {
		switch {
		case l.unusable[i] != nil:
			return fmt.Errorf("it is new, which needs all members: %w", l.unusable[i])
		case some && len(held[i]) == 0:
			return fmt.Errorf("it is new, which needs all members, but %s holds nothing of the accounts that the others hold: mount its disk, or start without the new account and run: pagevault member replace %d",
				dir, i+1)
		}
	}
	return nil
}

// moveMember returns where a directory that is to be the home of a member keeps an account, or why it cannot be one. from is
// the directory that the member has now, "" if it is a new one.
func (l *layout) moveMember(account, from, dir string) (string, error) {
	if l.fs != nil {
		return "", errors.New("what is kept in memory has no directories")
	}
	dir = filepath.Clean(dir)
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("directory %s: want a path from the root", dir)
	}
	if !slices.Contains(l.members, dir) { // or it is one of those that were found to lie apart
		moved := *l
		moved.members, moved.unusable = slices.Clone(l.members), slices.Clone(l.unusable)
		moved.memberMoved(from, dir)
		clear(moved.unusable)
		if err := moved.checkApart(); err != nil {
			return "", err
		}
		if err := moved.unusable[slices.Index(moved.members, dir)]; err != nil {
			return "", err
		}
	}
	if err := checkWritable(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, account), nil
}

// memberMoved notes that a member of all accounts has another directory: from "" it is new, to "" it is gone. Whoever calls it
// takes care that nobody asks for the members' directories meanwhile.
func (l *layout) memberMoved(from, to string) {
	at := slices.Index(l.members, from)
	switch {
	case to == "" && at >= 0:
		l.members, l.unusable = slices.Delete(l.members, at, at+1), slices.Delete(l.unusable, at, at+1)
	case to == "" || slices.Contains(l.members, to):
	case at >= 0:
		l.members[at], l.unusable[at] = to, nil
	default:
		l.members, l.unusable = append(l.members, to), append(l.unusable, nil)
	}
}

// sort puts members that stores know by a number at the place of that number, so that those of a store that is made now
// have the same ones. Where stores do not agree the members stay in the order given.
func (l *layout) sort() {
	at := make([]string, len(l.members))
	var others []string
	numbers := map[string]*atomic.Int64{}
	for _, dir := range l.members {
		numbers[dir] = new(atomic.Int64)
	}
	l.askAll(func(dir string) error {
		numbers[dir].Store(int64(l.number(dir)))
		return nil
	})
	for _, dir := range l.members {
		n := int(numbers[dir].Load())
		switch {
		case n == 0 || n > len(at):
			others = append(others, dir)
		case at[n-1] != "":
			return
		default:
			at[n-1] = dir
		}
	}
	for i := range at {
		if at[i] == "" {
			at[i], others = others[0], others[1:]
		}
	}
	unusable := make([]error, len(at))
	for i, dir := range at {
		unusable[i] = l.unusable[slices.Index(l.members, dir)]
	}
	l.members, l.unusable = at, unusable
}

// number returns the number, from 1, that the first store in a member's directory knows it by; 0: none.
func (l *layout) number(dir string) int {
	for _, account := range l.accountsIn(dir, true) {
		b, err := os.ReadFile(filepath.Join(dir, account, segment.IdentityName))
		if err != nil {
			continue
		}
		if m, err := segment.ParseMember(b); err == nil {
			return int(m.Number)
		}
		if id, err := segment.ParseIdentity(b); err == nil { // version 1
			return int(id.Number)
		}
	}
	return 0
}

// store returns where the store of an account lives.
func (l *layout) store(account string) pagestore.Options {
	o := pagestore.Options{FS: l.fs, Dir: l.join(l.index, account)}
	if l.fs != nil {
		// A file in memory is copied whenever it grows past its room, so small ones: 16 MiB.
		o.Log.SegmentBytes = 16 << 20
	}
	for _, dir := range l.members {
		o.Members = append(o.Members, replication.Member{FS: l.fs, Dir: l.join(dir, account)})
	}
	return o
}

func (l *layout) join(elem ...string) string {
	if l.fs != nil {
		return l.fs.PathJoin(elem...)
	}
	return filepath.Join(elem...)
}

// units are what may stand behind the number of a size, and what it is multiplied by.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}

// parseSize reads a number of bytes, with a unit behind it if need be.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<62/unit {
		return 0, fmt.Errorf("%q is not a size: want bytes, or a number with KiB, MiB, GiB or TiB, or kB, MB, GB or TB", text)
	}
	return n * unit, nil
}

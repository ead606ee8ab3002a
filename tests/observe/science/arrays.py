# reads: array.npy, mapped.dat
# writes: b.npy, c.npz, fresh.dat
import numpy

a = numpy.load("array.npy", mmap_mode="r")
b = numpy.memmap("mapped.dat", dtype="f8", mode="r")
numpy.save("b.npy", a + b)
numpy.savez("c.npz", a=a, b=b)
fresh = numpy.memmap("fresh.dat", dtype="f8", mode="w+", shape=(10,))
fresh[:] = 1
fresh.flush()

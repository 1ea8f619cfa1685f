# torch.matmul (cuBLAS) on the shapes of GemmTime, run beside LoraNet.GpuCheck on the same machine. Usage: python3 peer_torch.py gemm
import sys
import torch


def median_ms(fn, window_ms=8, windows=5, graph=40):
    for i in range(3):
        fn(i)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        fn(0)
    torch.cuda.synchronize()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        for i in range(graph):
            fn(i)
    a, b = torch.cuda.Event(True), torch.cuda.Event(True)
    g.replay()
    a.record(); g.replay(); b.record(); torch.cuda.synchronize()
    reps = max(1, int(window_ms / a.elapsed_time(b)))
    times = []
    for _ in range(windows):
        a.record()
        for _ in range(reps):
            g.replay()
        b.record(); torch.cuda.synchronize()
        times.append(a.elapsed_time(b) / reps / graph)
    return sorted(times)[len(times) // 2]


def gemm():
    shapes = [("NT", 8192, 2048, 2048), ("NT", 8192, 8192, 2048), ("NT", 8192, 2048, 8192), ("NT", 4096, 4096, 4096), ("NT", 2048, 4096, 14336), ("NT", 1024, 128256, 2048),
              ("NN", 8192, 2048, 2048), ("NN", 8192, 2048, 8192), ("NN", 4096, 4096, 4096), ("TN", 4096, 4096, 4096), ("TN", 2048, 8192, 8192),
              ("NT", 8192, 16, 2048), ("NT", 8192, 64, 2048), ("NN", 8192, 16, 2048), ("TN", 16, 2048, 8192), ("TN", 2048, 16, 8192), ("TN", 8192, 16, 8192),
              ("NT", 512, 2048, 2048), ("NT", 512, 512, 2048), ("NT", 512, 8192, 2048), ("NT", 512, 2048, 8192), ("NT", 2048, 2048, 2048), ("NT", 128, 2048, 2048), ("NT", 16, 4096, 4096)]
    for layout, m, n, k in shapes:
        r = dict(device="cuda", dtype=torch.bfloat16)
        a = [torch.randn(*((k, m) if layout == "TN" else (m, k)), **r) for _ in range(3)]
        b = [torch.randn(*((n, k) if layout == "NT" else (k, n)), **r) for _ in range(3)]
        c = [torch.empty(m, n, **r) for _ in range(3)]
        def run(i):
            x, y = a[i % 3], b[i % 3]
            torch.matmul(x.T if layout == "TN" else x, y.T if layout == "NT" else y, out=c[i % 3])
        ms = median_ms(run)
        print(f"torch {layout} {m:6} {n:6} {k:6} {ms * 1e3:8.1f} us {2.0 * m * n * k / ms / 1e9:6.0f} TFLOP/s", flush=True)


if "gemm" in sys.argv:
    gemm()

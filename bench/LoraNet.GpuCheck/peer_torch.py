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


def attention():
    import torch.nn.functional as F
    from torch.nn.attention import sdpa_kernel, SDPBackend
    for d in (64, 128):
        for b, s in ((4, 2048), (2, 4096), (1, 8192), (8, 512)):
            r = dict(device="cuda", dtype=torch.bfloat16)
            q = torch.randn(b, s, 32, d, **r).transpose(1, 2).requires_grad_()
            k, v = (torch.randn(b, s, 8, d, **r).transpose(1, 2).requires_grad_() for _ in range(2))
            do = torch.randn(b, s, 32, d, **r).transpose(1, 2)
            flop = 2.0 * s * s * d * 32 * b
            for tag, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
                try:
                    with sdpa_kernel(backend):
                        def fwd(i):
                            with torch.no_grad():
                                F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                        def both(i):
                            torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True), (q, k, v), do)
                        f = median_ms(fwd, graph=10)
                        t = median_ms(both, graph=10)
                    print(f"torch d{d} {b}x{s} {tag} fwd {f * 1e3:6.0f} us ({flop / f / 1e9:.0f} TFLOP/s)  bwd {(t - f) * 1e3:6.0f} us ({2.5 * flop / (t - f) / 1e9:.0f} TFLOP/s)", flush=True)
                except Exception as e:
                    print(f"torch d{d} {b}x{s} {tag} failed: {str(e)[:150]}", flush=True)


if "attention" in sys.argv:
    attention()

namespace LoraNet.Tensors;

/// <summary>
/// The kernel contract. Every operation is stated once here, with formula and shapes; <c>Reference</c> implements it as
/// plain scalar loops in double, <c>Cpu</c> with hardware vectors and threads, <c>Cuda</c> on NVIDIA GPUs, and one
/// conformance suite compares them. Conventions: matrices are row-major, tensors of higher rank are seen as
/// [product of leading dimensions, last dimension]; sums run in at least binary32; "accumulate" adds to the output
/// instead of overwriting it; outputs may alias inputs only where said; sizes of 0 are allowed (the row statistics of rows
/// without elements are undefined). Operations are queued in order; host reads synchronise; the same operands give the
/// same bits whatever the number of threads.
/// </summary>
/// <remarks>
/// Activations and their gradients are of <see cref="ComputeType"/>; parameters, their gradients, row statistics and other
/// vectors of <see cref="ParameterType"/>. Operands of products (<see cref="MatMul"/>, bias and second phase of
/// <see cref="Linear"/>), of <see cref="Sum"/> and the output of <see cref="ScatterAddRows"/> may be either; <see cref="Scale"/>
/// takes F32, BF16 and F16 on both sides. A backend may accept more: the reference takes any floating-point type anywhere.
/// Row numbers, ids, positions and targets are I32 and must be in range: the caller checks data, kernels do not (the
/// reference does).
/// </remarks>
public abstract partial class Backend : IDisposable
{
    /// <summary>Name for people: device and instruction set.</summary>
    public abstract string Name { get; }

    /// <summary>True when tensors live in host memory.</summary>
    public abstract bool IsHost { get; }

    /// <summary>Element type of activations: F32 on a CPU, BF16, F16 or F32 on a GPU, F64 for finite differences.</summary>
    public abstract DType ComputeType { get; }

    /// <summary>Element type of parameters, gradients, moments and row statistics: F32, or F64 on an F64 reference.</summary>
    public DType ParameterType => ComputeType == DType.F64 ? DType.F64 : DType.F32;

    /// <summary>Takes memory from the device, aligned to 256 bytes; undefined contents.</summary>
    /// <exception cref="LoraNetException">Not enough memory; the message says how much was asked for.</exception>
    public abstract nint AllocateMemory(long bytes);

    /// <summary>Gives memory back.</summary>
    public abstract void FreeMemory(nint address);

    /// <summary>Highest number of bytes allocated at one time so far.</summary>
    public abstract long PeakBytes { get; }

    /// <summary>Copies host bytes into the tensor; <paramref name="source"/> has the tensor's type and length.</summary>
    public abstract void UploadBytes(ReadOnlySpan<byte> source, Tensor destination);

    /// <summary>Copies the tensor's bytes to the host, after all queued work.</summary>
    public abstract void DownloadBytes(Tensor source, Span<byte> destination);

    /// <summary>Waits for all queued work.</summary>
    public abstract void Synchronize();

    /// <summary>Makes the form of a frozen weight that <see cref="Linear"/> reads; idempotent. Called before the first step.
    /// A form that another backend left is replaced; that backend frees what the form owned when it is itself disposed.</summary>
    public abstract void Prepare(Weight weight);

    /// <summary>Drops the prepared form of a weight; nothing happens when it is another backend's.</summary>
    public abstract void Drop(Weight weight);

    /// <summary>y[M,N] (+)= x[M,K] · w[N,K]ᵀ + bias[N] + lowRank.Left[M,R] · lowRank.Right[N,R]ᵀ.</summary>
    public abstract void Linear(Tensor x, Weight w, Tensor? bias, LowRank? lowRank, Tensor y, bool accumulate = false);

    /// <summary>Several products of one x: every part's y = x · wᵀ + bias, as <see cref="Linear"/> computes it. One pass where a backend has it.</summary>
    public virtual void LinearTogether(Tensor x, ReadOnlySpan<LinearPart> parts)
    {
        foreach (ref readonly LinearPart part in parts) Linear(x, part.W, part.Bias, null, part.Y);
    }

    /// <summary>dx[M,K] (+)= dy[M,N] · w[N,K] + lowRank.Left[M,R] · lowRank.Right[R,K].</summary>
    public abstract void LinearBackwardInput(Tensor dy, Weight w, LowRank? lowRank, Tensor dx, bool accumulate = false);

    /// <summary>c (+)= alpha · (a, b by <paramref name="kind"/>) + bias[N]; bias only without accumulate.</summary>
    public abstract void MatMul(MatMulKind kind, Tensor a, Tensor b, Tensor c, float alpha = 1, bool accumulate = false, Tensor? bias = null);

    /// <summary>norms[n] = Σₖ w[n,k]² (F32), the ‖W‖² per output row that DoRA caches.</summary>
    public abstract void RowSquaredNorms(Weight w, Tensor norms);

    /// <summary>norm[n] = √(w2[n] + 2s·Σᵣ c[r,n]·b[n,r] + s²·Σᵣ (b·g)[n,r]·b[n,r]) with c = A·Wᵀ [R,N] and g = A·Aᵀ [R,R]:
    /// ‖W + s·B·A‖ per output row without forming B·A. A sum below 0 (rounding, where s·B·A cancels W) counts as 0.</summary>
    public abstract void DoraNorm(Tensor w2, Tensor c, Tensor b, Tensor g, float scale, Tensor norm);

    /// <summary>y = x · rstd ⊙ (w + offset), rstd[m] = 1/√(mean(x[m]²) + eps) (Zhang &amp; Sennrich, 2019); offset is 1 for Gemma, else 0.
    /// y may alias x only when no backward follows. rstd is of the parameter type [M].</summary>
    public abstract void RmsNorm(Tensor x, Tensor w, float eps, float offset, Tensor y, Tensor rstd);

    /// <summary><see cref="Add"/> and <see cref="RmsNorm"/> of the sum: sum = a + b, rounded as it is stored, y = norm(sum). One pass where
    /// a backend has it, with the same results. sum may alias a or b, y neither of the three.</summary>
    public virtual void AddRmsNorm(Tensor a, Tensor b, Tensor w, float eps, float offset, Tensor sum, Tensor y, Tensor rstd)
    {
        Add(a, b, sum);
        RmsNorm(sum, w, eps, offset, y, rstd);
    }

    /// <summary>dx (+)= rstd/K·(K·g − x̂·Σ g⊙x̂) with g = dy ⊙ (w + offset), x̂ = x·rstd; dw[K] += Σₘ dy ⊙ x̂ when given. dx may alias dy without accumulate.</summary>
    public abstract void RmsNormBackward(Tensor dy, Tensor x, Tensor w, float offset, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw);

    /// <summary>y = (x − mean)·rstd ⊙ w + b, rstd = 1/√(var(x) + eps) with the biased variance (Ba et al., 2016). b may be null. mean, rstd of the parameter type [M].</summary>
    public abstract void LayerNorm(Tensor x, Tensor w, Tensor? b, float eps, Tensor y, Tensor mean, Tensor rstd);

    /// <summary>Gradients of <see cref="LayerNorm"/>: dx (+)= rstd/K·(K·g − Σg − x̂·Σ g⊙x̂), g = dy⊙w; dw += Σ dy⊙x̂, db += Σ dy when given. dx may alias dy without accumulate.</summary>
    public abstract void LayerNormBackward(Tensor dy, Tensor x, Tensor w, Tensor mean, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw, Tensor? db);

    /// <summary>Rotates each head of x [M, H·D] by its row's position (Su et al., 2021; Hugging Face's rotate_half pairing i, i+R/2):
    /// y₁ = x₁·cos − x₂·sin, y₂ = x₂·cos + x₁·sin on the first R = 2·columns(cos) of D, the rest copied.
    /// cos, sin are [P, R/2] of the parameter type, positions [M] I32. <paramref name="inverse"/> negates sin (the backward). y may alias x.</summary>
    public abstract void Rope(Tensor x, Tensor cos, Tensor sin, Tensor positions, int headSize, bool inverse, Tensor y);

    /// <summary>New tokens' keys and values go into a cache: q and k are turned in place (<see cref="Rope"/>) where there are tables, then
    /// keys[rows[i]] = k[i] and values[rows[i]] = v[i]. The rows are distinct and hold zeros: a backend may add. One pass where a backend has it.</summary>
    public virtual void AppendKeyValues(in KeyValueAppend append)
    {
        if (append.Cos is not null && append.Sin is not null)
        {
            Rope(append.Query, append.Cos, append.Sin, append.Positions, append.HeadSize, inverse: false, append.Query);
            Rope(append.Key, append.Cos, append.Sin, append.Positions, append.HeadSize, inverse: false, append.Key);
        }
        ScatterAddRows(append.Key, append.Rows, append.Keys);
        ScatterAddRows(append.Value, append.Rows, append.Values);
    }

    /// <summary>o = softmax(cap(scale·q·kᵀ))·v over the visible keys, grouped-query; never forms the M×Mk matrix (Dao, 2023).
    /// A query without visible keys outputs 0.</summary>
    public abstract void Attention(in AttentionOperands operands);

    /// <summary>Gradients of <see cref="Attention"/> from its operands, its stored output and its stored log-sum-exp; overwrites dq, dk, dv (shapes of q, k, v):
    /// p = exp(s − lse), dv = pᵀ·do, ds = p ⊙ (do·vᵀ − Σ do⊙o) through the cap and scale, dq = ds·k, dk = dsᵀ·q. A key that no query sees gets 0.</summary>
    public abstract void AttentionBackward(in AttentionOperands operands, Tensor dOutput, Tensor dQuery, Tensor dKey, Tensor dValue);

    /// <summary>y = f(x). y may alias x.</summary>
    public abstract void Activate(Activation kind, Tensor x, Tensor y);

    /// <summary>dx (+)= dy ⊙ f′(x), f′(0) = 0 for ReLU. dx may alias dy without accumulate.</summary>
    public abstract void ActivateBackward(Activation kind, Tensor dy, Tensor x, Tensor dx, bool accumulate = false);

    /// <summary>y = f(gate) ⊙ up (SwiGLU, GeGLU: Shazeer, 2020). y may alias gate or up.</summary>
    public abstract void GatedActivate(Activation kind, Tensor gate, Tensor up, Tensor y);

    /// <summary>dGate = dy ⊙ up ⊙ f′(gate), dUp = dy ⊙ f(gate); both overwritten, may alias gate and up respectively, or dy.</summary>
    public abstract void GatedActivateBackward(Activation kind, Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp);

    /// <summary>y = a + b, same shapes. y may alias either.</summary>
    public abstract void Add(Tensor a, Tensor b, Tensor y);

    /// <summary>y (+)= alpha·x, same shapes, types may differ. y may alias x without accumulate. With alpha 1: copy or cast.</summary>
    public abstract void Scale(Tensor x, float alpha, Tensor y, bool accumulate = false);

    /// <summary>y[m,n] (+)= x[m,n]·v[n]. y may alias x without accumulate.</summary>
    public abstract void ScaleColumns(Tensor x, Tensor v, Tensor y, bool accumulate = false);

    /// <summary>y[m,n] = x[m,n]·v[m]. y may alias x.</summary>
    public abstract void ScaleRows(Tensor x, Tensor v, Tensor y);

    /// <summary>y[m, :] = x[m, :] + v[:]. y may alias x.</summary>
    public abstract void AddRow(Tensor x, Tensor v, Tensor y);

    /// <summary>sum[n] (+)= alpha·Σₘ x[m,n] (· other[m,n] when given): bias, norm and magnitude gradients. sum is of the parameter type.</summary>
    public abstract void ColumnSum(Tensor x, Tensor? other, float alpha, Tensor sum, bool accumulate);

    /// <summary>y[i] = a[i] / b[i] (or a[i]·b[i]) on vectors of the parameter type: DoRA's m/‖·‖. y may alias either.</summary>
    public abstract void VectorBinary(bool divide, Tensor a, Tensor b, Tensor y);

    /// <summary>y[m, yColumn + j] (+)= x[m, xColumn + j] for j &lt; count: splits and joins fused projections.</summary>
    public abstract void CopyColumns(Tensor x, int xColumn, Tensor y, int yColumn, int count, bool accumulate = false);

    /// <summary>y[i, :] = x[rows[i], :]; a row number of −1 gives zeros. rows I32.</summary>
    public abstract void GatherRows(Tensor x, Tensor rows, Tensor y);

    /// <summary>y[rows[i], :] += x[i, :] in ascending i (deterministic even with repeated rows); −1 is skipped. Repeated rows may be rounded to y's type after each addition.</summary>
    public abstract void ScatterAddRows(Tensor x, Tensor rows, Tensor y);

    /// <summary>y[i, :] = scale · w[ids[i], :]: the frozen embedding table. ids I32.</summary>
    public abstract void Embedding(Weight w, Tensor ids, float scale, Tensor y);

    /// <summary>y (+)= mask ⊙ x / (1 − p) with the mask of <paramref name="key"/>, row m being rowOffset + m (Srivastava et al., 2014). Its own backward. A dropped element adds nothing, whatever x holds. y may alias x without accumulate.</summary>
    public abstract void Dropout(Tensor x, float p, DropoutKey key, long rowOffset, Tensor y, bool accumulate = false);

    /// <summary>loss[m] = −log softmax(cap(logits[m]))[targets[m]] (0 where the target is negative), and, when given,
    /// dLogits = gradScale·(softmax − onehot) through the cap (zeros where the target is negative). softCap 0 is none. dLogits may alias logits. loss is of the parameter type [M], targets I32.</summary>
    public abstract void CrossEntropy(Tensor logits, Tensor targets, float gradScale, float softCap, Tensor loss, Tensor? dLogits);

    /// <summary>y = c·tanh(x/c): Gemma 2's cap on final logits. y may alias x.</summary>
    public abstract void SoftCap(Tensor x, float cap, Tensor y);

    /// <summary>sum[0] (+)= Σ x in a fixed order. sum is of the parameter type.</summary>
    public abstract void Sum(Tensor x, Tensor sum, bool accumulate = false);

    /// <summary>stats[0] = √Σ‖g‖² over all gradients (accumulated in double or compensated), stats[1] = min(1, maxNorm/(stats[0] + 1e-6)) or 1 when maxNorm is 0 (PyTorch's clip_grad_norm_),
    /// stats[2] = 1 when stats[0] and lossSum[0] are finite, else 0 (stats[1] then means nothing). stats is of the parameter type [3].</summary>
    public abstract void GradientNorm(IReadOnlyList<Tensor> gradients, float maxNorm, Tensor lossSum, Tensor stats);

    /// <summary>AdamW (Loshchilov &amp; Hutter, 2019) as PyTorch computes it, for every tensor, with g = stats[1]·gradient; nothing changes when stats[2] is 0:
    /// p ← p·(1 − lr·λ); m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε).</summary>
    public abstract void AdamW(IReadOnlyList<AdamWTensor> tensors, AdamWSettings settings, Tensor stats);

    /// <summary>Zeroes many tensors of the parameter type: the gradients before a step. One launch where a backend can.</summary>
    public virtual void ZeroAll(IReadOnlyList<Tensor> tensors)
    {
        for (int i = 0; i < tensors.Count; i++) Zero(tensors[i]);
    }

    /// <summary>Sets all elements to zero bytes.</summary>
    public abstract void Zero(Tensor x);

    /// <inheritdoc/>
    public abstract void Dispose();
}

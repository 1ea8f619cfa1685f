namespace LoraNet.Tensors;

/// <summary>The three orientations of a dense product.</summary>
public enum MatMulKind
{
    /// <summary>c[M,N] = a[M,K] · b[N,K]ᵀ: a linear layer's forward.</summary>
    NT,
    /// <summary>c[M,N] = a[M,K] · b[K,N]: the gradient of a linear layer's input.</summary>
    NN,
    /// <summary>c[M,N] = a[K,M]ᵀ · b[K,N]: the gradient of a weight.</summary>
    TN,
}

/// <summary>
/// The optional second phase of a matrix product: after K, keep accumulating Left · Right over the rank.
/// Scaling (alpha / r) is already folded into <see cref="Left"/>.
/// </summary>
/// <param name="Left">[M, R]: s·x·Aᵀ in the forward, s·dy·B in the backward.</param>
/// <param name="Right">B [N, R] in the forward, A [R, K] in the backward.</param>
public readonly record struct LowRank(Tensor Left, Tensor Right);

/// <summary>One of several products of the same input: y = x · wᵀ + bias.</summary>
/// <param name="W">Frozen weight [N, K].</param>
/// <param name="Bias">[N], or null.</param>
/// <param name="Y">[M, N].</param>
public readonly record struct LinearPart(Weight W, Tensor? Bias, Tensor Y);

/// <summary>What <see cref="Backend.AppendKeyValues"/> needs.</summary>
/// <param name="Query">[M, H·D]; turned in place.</param>
/// <param name="Key">[M, Hkv·D]; turned in place.</param>
/// <param name="Value">[M, Hkv·D].</param>
/// <param name="Cos">Rotary table [P, R/2] of the parameter type, or null where nothing is turned.</param>
/// <param name="Sin">As <paramref name="Cos"/>.</param>
/// <param name="Positions">[M] I32, rows of the tables.</param>
/// <param name="HeadSize">D.</param>
/// <param name="Rows">[M] I32, distinct rows of the cache.</param>
/// <param name="Keys">Cached keys [C, Hkv·D].</param>
/// <param name="Values">Cached values [C, Hkv·D].</param>
public readonly record struct KeyValueAppend(
    Tensor Query, Tensor Key, Tensor Value, Tensor? Cos, Tensor? Sin, Tensor Positions, int HeadSize, Tensor Rows, Tensor Keys, Tensor Values);

/// <summary>Pointwise non-linearities by their Hugging Face meaning.</summary>
public enum Activation
{
    /// <summary>x·σ(x) (Elfwing et al., 2017).</summary>
    Silu,
    /// <summary>x·Φ(x), exact by erf (Hendrycks &amp; Gimpel, 2016).</summary>
    Gelu,
    /// <summary>0.5x(1 + tanh(√(2/π)(x + 0.044715x³))): gelu_new, gelu_pytorch_tanh.</summary>
    GeluTanh,
    /// <summary>max(x, 0).</summary>
    Relu,
    /// <summary>tanh(x), as in BERT's pooler.</summary>
    Tanh,
}

/// <summary>
/// Names one dropout mask: the same key gives the same mask on every backend and however the batch is split.
/// Element (row, column) keeps its value where the 32-bit word <c>column mod 4</c> of Philox4x32-10 (Salmon et al., 2011)
/// with key (low, high halves of <see cref="Hash"/>) and counter (column / 4, low half of row, high half of row, <see cref="Step"/>)
/// is at least p·2³² (as an unsigned number, rounded to nearest); row counts from the start of the optimizer step.
/// </summary>
/// <param name="Hash">64-bit hash of seed, module path and adapter.</param>
/// <param name="Step">Optimizer step.</param>
public readonly record struct DropoutKey(ulong Hash, uint Step)
{
    /// <summary>Hashes seed, module path and adapter name (FNV-1a, 64 bits) into a key.</summary>
    public static DropoutKey Create(ulong seed, string modulePath, string adapter, uint step)
    {
        ulong hash = 14695981039346656037UL;
        for (int i = 0; i < 64; i += 8) Mix((byte)(seed >> i));
        foreach (char c in modulePath) MixChar(c);
        MixChar('\0');
        foreach (char c in adapter) MixChar(c);
        return new DropoutKey(hash, step);

        void MixChar(char c)
        {
            Mix((byte)c);
            Mix((byte)(c >> 8));
        }

        void Mix(byte value) => hash = (hash ^ value) * 1099511628211UL;
    }
}

/// <summary>One tensor of an AdamW update.</summary>
/// <param name="Parameter">Updated in place, F32.</param>
/// <param name="Gradient">Gradient of the loss, F32.</param>
/// <param name="FirstMoment">m, F32.</param>
/// <param name="SecondMoment">v, F32.</param>
/// <param name="LearningRate">Learning rate of this tensor's group.</param>
/// <param name="WeightDecay">Decoupled decay of this tensor's group.</param>
public readonly record struct AdamWTensor(
    Tensor Parameter, Tensor Gradient, Tensor FirstMoment, Tensor SecondMoment, float LearningRate, float WeightDecay);

/// <summary>Settings that all tensors of an AdamW update share.</summary>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the corrected second moment.</param>
/// <param name="Step">Number of this update, from 1, for bias correction.</param>
public readonly record struct AdamWSettings(float Beta1, float Beta2, float Epsilon, int Step);

/// <summary>Operands of attention. Rows are tokens; heads lie side by side in a row.</summary>
/// <param name="Query">q [M, H·D].</param>
/// <param name="Key">k [Mk, Hkv·D].</param>
/// <param name="Value">v [Mk, Hkv·D].</param>
/// <param name="Output">o [M, H·D].</param>
/// <param name="LogSumExp">[M, H] of the parameter type: natural logarithm of the softmax denominator including the maximum; −∞ for a row without keys.</param>
/// <param name="Layout">Visible keys of each query.</param>
/// <param name="Heads">H; query head h uses key-value head h / (H / Hkv).</param>
/// <param name="KeyValueHeads">Hkv, a divisor of H.</param>
/// <param name="Scale">Factor on q·k, usually 1/√D.</param>
/// <param name="SoftCap">c &gt; 0 replaces each score s by c·tanh(s/c) (Gemma 2); 0 leaves it.</param>
public readonly record struct AttentionOperands(
    Tensor Query, Tensor Key, Tensor Value, Tensor Output, Tensor LogSumExp, AttentionLayout Layout,
    int Heads, int KeyValueHeads, float Scale, float SoftCap);

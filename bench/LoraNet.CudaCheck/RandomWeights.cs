using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>Weights of a Llama of any shape, made up: bfloat16 values with a standard deviation of 0.02, norm weights 1. Matrices share one block of
/// numbers, so that a large model needs little host memory.</summary>
internal sealed unsafe class RandomWeights : IWeightSource
{
    private readonly Dictionary<string, HostTensor> _tensors = [];
    private readonly ushort[] _block;

    public RandomWeights(int hidden, int intermediate, int layers, int heads, int keyValueHeads, int vocabulary)
    {
        int headSize = hidden / heads, keyWidth = keyValueHeads * headSize;
        _block = GC.AllocateUninitializedArray<ushort>(Math.Max(hidden * vocabulary, hidden * intermediate) + 4096, pinned: true);
        Random random = new(7);
        for (int i = 0; i < _block.Length; i++) _block[i] = BFloat16.FromSingle((float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 0.04));
        ushort[] ones = GC.AllocateUninitializedArray<ushort>(hidden, pinned: true);
        Array.Fill(ones, BFloat16.FromSingle(1));
        int shift = 0;
        Add("model.embed_tokens.weight", vocabulary, hidden);
        AddNorm("model.norm.weight");
        for (int l = 0; l < layers; l++)
        {
            string p = $"model.layers.{l}.";
            AddNorm(p + "input_layernorm.weight");
            AddNorm(p + "post_attention_layernorm.weight");
            Add(p + "self_attn.q_proj.weight", hidden, hidden);
            Add(p + "self_attn.k_proj.weight", keyWidth, hidden);
            Add(p + "self_attn.v_proj.weight", keyWidth, hidden);
            Add(p + "self_attn.o_proj.weight", hidden, hidden);
            Add(p + "mlp.gate_proj.weight", intermediate, hidden);
            Add(p + "mlp.up_proj.weight", intermediate, hidden);
            Add(p + "mlp.down_proj.weight", hidden, intermediate);
        }

        void Add(string name, int rows, int columns)
        {
            shift = (shift + 97) % 4096;
            _tensors.Add(name, new HostTensor((nint)Unsafe(_block) + 2 * shift, DType.BF16, [rows, columns], _block));
        }

        void AddNorm(string name) => _tensors.Add(name, new HostTensor((nint)Unsafe(ones), DType.BF16, [hidden], ones));

        static void* Unsafe(ushort[] array) => System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(array));
    }

    public IReadOnlyCollection<string> Names => _tensors.Keys;

    public string? Directory => null;

    public HostTensor Get(string name) => _tensors[name];

    public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor) => _tensors.TryGetValue(name, out tensor);

    public void Dispose()
    {
    }
}

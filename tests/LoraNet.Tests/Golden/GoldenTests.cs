using LoraNet.Adapters;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Tests.Golden;

/// <summary>
/// Every number of the golden cases of transformers + PEFT: logits and losses of the base, untrained, trained, merged,
/// disabled and second adapter; gradients; five training steps; the adapter after them; checksums of the merged weights.
/// The output is a table of the largest differences.
/// </summary>
public sealed class GoldenTests(Xunit.Abstractions.ITestOutputHelper output)
{
    /// <summary>Cases of the decoder families.</summary>
    public static TheoryData<string, string> Cases()
    {
        TheoryData<string, string> data = [];
        foreach (string backend in _backends)
            foreach (string name in new[] { "llama-tied-attn", "llama-untied-mlp-rslora-llama3rope", "llama-dora", "llama-patterns-bias", "llama-embed-lmhead",
                "llama-modules-to-save", "llama-all-linear-leftpad", "mistral", "qwen2", "qwen3", "smollm3", "olmo2",
                "gemma", "gemma2", "gemma3", "phi3", "gpt2", "mixtral" })
                data.Add(name, backend);
        return data;
    }

    /// <summary>Cases in the repository, made by tests/fixtures/generate.py.</summary>
    public static TheoryData<string, string> Fixtures()
    {
        TheoryData<string, string> data = [];
        foreach (string backend in _backends)
            foreach (string folder in Directory.GetDirectories(Path.Combine(TestData.Fixtures, "golden")).Order(StringComparer.Ordinal))
                data.Add(Path.GetFileName(folder), backend);
        return data;
    }

    private static readonly string[] _backends = ["reference", "cpu"];

    [SharedTheory]
    [MemberData(nameof(Cases))]
    public void MatchesPeft(string name, string backendName) => Compare(TestData.SharedPath("reference", name), backendName);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void FixturesMatchPeft(string name, string backendName) => Compare(Path.Combine(TestData.Fixtures, "golden", name), backendName);

    private void Compare(string folder, string backendName)
    {
        using Backend backend = ReferenceCase.CreateBackend(backendName);
        using ReferenceCase golden = new(folder);
        using CausalLM model = CausalLM.Load(golden.Folder, backend);
        using Arena arena = new(backend);
        Differences table = new();

        CompareForward("base");
        LoraAdapter adapter = AdapterFile.Load(Path.Combine(golden.Folder, "adapter_init"), model);
        Assert.Equal(golden.Json.GetProperty("trainable_parameters").GetInt64(), adapter.ParameterCount);
        CompareForward("init");

        Train(golden, model, table);
        golden.CompareAdapter(adapter, table);
        AdapterTensors.Read(golden.TrainedAdapter, adapter);
        CompareForward("trained");
        // AdaLoRA's file lacks the pruned components that its gradients would depend on.
        if (adapter.Config.Method is not AdaLoraSettings) CompareGradients(golden, model, arena, table);

        // In llama-tied-attn the script that made the case drew B of the default adapter anew (for its second adapter) before
        // it merged: merged.logits equals mixed.logits of row 0 there, not trained.logits. Its merge is checked against ours.
        bool mergedBelongs = !golden.Expected.Tensors.ContainsKey("mixed.logits");
        using (CausalLM merged = model.MergeAndUnload()) CompareForwardOf(merged, mergedBelongs ? "merged" : "trained");
        if (mergedBelongs) CompareChecksums(golden, model, table);
        using (model.DisableAdapter()) CompareForward("base");
        CompareForward("trained");
        if (Directory.Exists(Path.Combine(golden.Folder, "second")))
        {
            AdapterFile.Load(Path.Combine(golden.Folder, "second"), model, "second");
            CompareForward("second");
            model.SetAdapter("default");
            CompareForward("trained");
            model.DeleteAdapter("second");
            model.DeleteAdapter("default");
            CompareForward("base");
        }
        output.WriteLine(table.ToString());
        table.AssertAll();

        void CompareForward(string what) => CompareForwardOf(model, what);

        void CompareForwardOf(CausalLM of, string what)
        {
            List<TokenRow> rows = golden.Rows(0);
            using TokenBatch batch = TokenBatch.Create(backend, rows, of.Options.VocabularySize);
            float[] expected = golden.Values($"{what}.logits");
            int v = of.Options.VocabularySize;
            double max = 0;
            of.Logits(arena, batch, (first, logits) =>
            {
                float[] values = backend.Download(logits);
                for (int i = 0; i < logits.Rows; i++)
                {
                    (int r, int c) = batch.Origin[first + i];
                    for (int j = 0; j < v; j++)
                    {
                        double e = expected[(r * batch.Longest + c) * v + j];
                        max = Math.Max(max, Math.Abs(values[i * v + j] - e) / Math.Max(1, Math.Abs(e)));
                    }
                }
            });
            table.Add($"{what}.logits", max, 1e-4);
            if (golden.Expected.Tensors.ContainsKey($"{what}.loss"))
                table.Add($"{what}.loss", Math.Abs(Evaluator.Evaluate(of, rows, 8, arena).Loss - golden.Scalar($"{what}.loss")), 1e-4);
        }
    }

    private static void Train(ReferenceCase golden, CausalLM model, Differences table)
    {
        // The fixed batches in order: five steps of two rows each, unshuffled.
        List<TokenRow> rows = [];
        for (int s = 0; s < golden.Steps; s++) rows.AddRange(golden.Rows(s));
        using LoraTrainer trainer = new(model, rows, golden.Options(rows.Count));
        golden.CompareSteps(trainer, table);
    }

    private static void CompareGradients(ReferenceCase golden, CausalLM model, Arena arena, Differences table)
    {
        using TokenBatch batch = TokenBatch.Create(model.Backend, golden.Rows(0), model.Options.VocabularySize);
        golden.CompareGradients(model, arena, table, (tape, sum) => model.AccumulateLoss(tape, batch, new ForwardContext { Training = true }, 1f / batch.TrainedTokens, sum));
    }

    private static void CompareChecksums(ReferenceCase golden, CausalLM model, Differences table)
    {
        using MergedWeights merged = new(model);
        foreach (System.Text.Json.JsonProperty entry in golden.Json.GetProperty("merged_checksum").EnumerateObject())
        {
            if (!merged.Names.Contains(entry.Name) && model.Options.TiedEmbeddings) continue;
            float[] values = [.. StoredNames(entry.Name, model).SelectMany(merged.Compute)];
            table.AddChecksum($"merged {entry.Name}", values, entry.Value[0].GetDouble(), entry.Value[1].GetDouble());
        }
    }

    /// <summary>The names in model.safetensors behind a name of transformers' module tree, which stacks Mixtral's experts in memory.</summary>
    private static IEnumerable<string> StoredNames(string name, CausalLM model)
    {
        if (!name.Contains(".mlp.", StringComparison.Ordinal) || model.Options.Experts == 0) return [name];
        string layer = name[..name.IndexOf(".mlp.", StringComparison.Ordinal)] + ".block_sparse_moe";
        if (name.EndsWith(".mlp.gate.weight", StringComparison.Ordinal)) return [layer + ".gate.weight"];
        string[] parts = name.EndsWith("gate_up_proj", StringComparison.Ordinal) ? ["w1", "w3"] : ["w2"];
        return Enumerable.Range(0, model.Options.Experts).SelectMany(e => parts.Select(p => $"{layer}.experts.{e}.{p}.weight"));
    }
}

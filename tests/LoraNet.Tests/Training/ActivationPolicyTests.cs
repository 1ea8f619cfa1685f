using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Lora;
using LoraNet.Training;

namespace LoraNet.Tests.Training;

/// <summary>What is computed again is the same bits as what is kept.</summary>
public class ActivationPolicyTests
{
    [Theory]
    [InlineData("llama-tied", "all-linear", false)]
    [InlineData("llama-tied", "q_proj,o_proj", false)]
    [InlineData("llama-dora-llama3rope", "all-linear", true)]
    [InlineData("olmo2", "all-linear", false)]
    [InlineData("qwen3", "k_proj,down_proj", false)]
    public void Loss_and_gradients_do_not_depend_on_what_is_kept(string fixture, string targets, bool dora)
    {
        (float[] loss, float[] gradient, long bytes) keep = Run(fixture, targets, dora, ActivationPolicy.Keep, 0);
        (float[] loss, float[] gradient, long bytes) selective = Run(fixture, targets, dora, ActivationPolicy.Selective, 0);
        (float[] loss, float[] gradient, long bytes) again = Run(fixture, targets, dora, ActivationPolicy.Selective, 99);
        Assert.Contains(keep.gradient, g => g != 0);
        (float[] loss, float[] gradient, long bytes) norms = Run(fixture, targets, dora, ActivationPolicy.Norms, 0);
        Assert.Equal(keep.gradient, norms.gradient);
        Assert.Equal(keep.loss, selective.loss);
        Assert.Equal(keep.gradient, selective.gradient);
        Assert.Equal(keep.loss, again.loss);
        Assert.Equal(keep.gradient, again.gradient);
        Assert.True(selective.bytes < keep.bytes, $"{selective.bytes} is not less than {keep.bytes}");
        Assert.True(again.bytes < selective.bytes, $"{again.bytes} is not less than {selective.bytes}");
    }

    [Fact]
    public void The_plan_recomputes_as_many_layers_as_memory_asks_for()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 4, TargetModules = ModuleSelector.AllLinearLayers });
        MemoryPlan Plan(ActivationChoice choice, long available) => MemoryPlan.Of(model, MemoryPlan.Adapted(model), adapter.ParameterCount, 4000, 4, choice, available);
        MemoryPlan all = Plan(ActivationChoice.Norms, 0), least = Plan(ActivationChoice.Recompute, 0);
        Assert.Equal(0, Plan(ActivationChoice.Auto, all.Total).Recomputed);
        Assert.Equal(ActivationPolicy.Norms, Plan(ActivationChoice.Auto, all.Total).Policy);
        Assert.Equal((ActivationPolicy.Selective, 0), (Plan(ActivationChoice.Auto, all.Total - 1).Policy, Plan(ActivationChoice.Auto, all.Total - 1).Recomputed));
        Assert.Equal(least.Layers, Plan(ActivationChoice.Auto, 1).Recomputed);
        Assert.Equal(model.Options.Layers, least.Recomputed);
    }

    [Fact]
    public void A_trained_embedding_keeps_every_layer_s_activations()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(new LoraConfig { Rank = 4, TargetModules = ModuleSelector.Of("q_proj"), LayersToTransform = [1] });
        Assert.Equal(1, Layers(model));
        model.DeleteAdapter("default");
        model.AddAdapter(new LoraConfig { Rank = 4, TargetModules = ModuleSelector.Of("q_proj"), LayersToTransform = [1], ModulesToSave = ["embed_tokens"] });
        Assert.Equal(2, Layers(model));

        static int Layers(CausalLM model) => MemoryPlan.Of(model, MemoryPlan.Adapted(model), 1000, 100, 4, ActivationChoice.Keep, 0).Layers;
    }

    private static (float[] Loss, float[] Gradient, long Bytes) Run(string fixture, string targets, bool dora, ActivationPolicy policy, int recomputed)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, fixture);
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 4, Dropout = 0.2, TargetModules = ModuleSelector.Parse(targets), UseDora = dora });
        Random random = new(4);
        foreach (Parameter p in adapter.Parameters.Where(p => p.Kind == ParameterKind.LoraB))
            backend.Upload([.. Enumerable.Range(0, (int)p.Value.Count).Select(_ => (float)(random.NextDouble() - 0.5) * 0.2f)], p.Value);
        List<Parameter> parameters = [.. model.TrainableParameters];
        foreach (Parameter parameter in parameters) backend.Zero(parameter.Gradient);
        using Arena arena = new(backend);
        model.RecomputedLayers = recomputed;
        Tape tape = new(arena) { Policy = policy };
        Tensor sum = backend.Create(new float[1], 1);
        using TokenBatch batch = TokenBatch.Create(backend, TinyModel.Rows(60, 3, model.Options.VocabularySize), model.Options.VocabularySize);
        model.AccumulateLoss(tape, batch, new ForwardContext { Training = true, Seed = 7, Step = 3 }, 1f / batch.TrainedTokens, sum);
        Assert.Equal((0, 0), (arena.Live, tape.Count));
        float[] loss = backend.Download(sum);
        backend.Free(sum);
        return (loss, [.. parameters.SelectMany(p => p.ToFile(gradient: true))], arena.ReservedBytes);
    }
}

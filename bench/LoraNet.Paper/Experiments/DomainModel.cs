using System.Text.Json.Nodes;
using LoraNet.Models;
using LoraNet.Paper.Running;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Paper.Experiments;

/// <summary>
/// A base model that can write the sentences but has never seen what they are to say: the model of children's stories, trained
/// whole on the descriptions of the training part without their meanings. The paper's GPT-2 knows English; a model of 656,000
/// values that only knows stories is no such start.
/// </summary>
internal static class DomainModel
{
    /// <summary>Where the run keeps it.</summary>
    public static string Folder(RunSettings settings) => Path.Combine(settings.Results, "domain-model");

    /// <summary>Trains and writes it.</summary>
    /// <param name="context">The run.</param>
    /// <param name="steps">Optimizer steps; ten epochs when null.</param>
    /// <param name="batch">Rows a step.</param>
    public static void Run(JobContext context, int? steps = null, int batch = 32)
    {
        RunSettings settings = context.Settings;
        using CausalLM model = CausalLM.Load(settings.LanguageModel, context.Backends.Current);
        Tokenizer tokenizer = Tokenizer.Load(settings.LanguageModel);
        (List<E2eEntry> train, List<E2eEntry> heldOut) = E2eData.Split(settings.Data);
        List<TokenRow> rows = Rows(train), held = Rows(heldOut);
        Method.Full.Attach(model, [], 1);
        using LoraTrainer trainer = new(model, Drawing.Draw(rows, settings.Rows(int.MaxValue), 1), new TrainingOptions
        {
            BatchSize = batch,
            Epochs = 10,
            MaxSteps = settings.Quick ? 2 : steps,
            LearningRate = 1e-3,
            WeightDecay = 0.01,
            WarmupRatio = 0.06,
            Seed = 1,
        }, Drawing.Draw(held, settings.Rows(int.MaxValue), 1));
        while (trainer.State.CompletedSteps < trainer.TotalSteps) trainer.Step();
        context.Emit(new JsonObject { ["experiment"] = "e2e-domain", ["steps"] = trainer.TotalSteps, ["batch"] = batch, ["rows"] = rows.Count, ["held_loss"] = trainer.EvaluateHeldOut().Loss });
        ModelWriter.WriteMerged(model, settings.LanguageModel, Folder(settings));

        List<TokenRow> Rows(List<E2eEntry> entries) => [.. entries.SelectMany(e => e.References).Select(text =>
        {
            int[] ids = [tokenizer.BosId ?? 0, .. tokenizer.Encode(text, addSpecialTokens: false), tokenizer.EosId ?? 0];
            return new TokenRow(ids, ids);
        })];
    }
}
